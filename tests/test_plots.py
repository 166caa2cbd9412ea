"""What plots show, read from the figures."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from spike_dgl.plots import ORANGE, Point, bars, lines, save


def test_bars_stand_in_the_order_of_the_table_in_every_panel() -> None:
    points = {"spike": Point(0.3, 0.01), "lightgcn": Point(0.2)}
    figure = bars("Which?", {"recall@20": points, "ndcg@20": points}, highlighted="spike")
    for axis, metric in zip(figure.axes, ("recall@20", "ndcg@20"), strict=True):
        assert list(axis.get_yticks()) == [0, 1]
        assert [patch.get_width() for patch in axis.patches] == [0.3, 0.2]
        assert axis.yaxis_inverted()
        assert axis.get_xlabel() == f"test {metric}"
        assert axis.get_xlim()[0] == 0.0
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["spike", "lightgcn"]
    from matplotlib.colors import to_hex

    assert to_hex(figure.axes[0].patches[0].get_facecolor()) == ORANGE


def test_lines_go_through_their_points_in_order(tmp_path: Path) -> None:
    of_lines = {"spike": {0.5: Point(0.2, 0.1), 0.0: Point(0.1)}, "kgat": {0.0: Point(0.3), 0.5: Point(0.4)}}
    figure = lines("How much graph?", "share of triples", {"recall@20": of_lines})
    (axis,) = figure.axes
    assert [list(map(float, line[0].get_xdata())) for line in axis.containers] == [[0.0, 0.5], [0.0, 0.5]]
    assert [list(map(float, line[0].get_ydata())) for line in axis.containers] == [[0.1, 0.2], [0.3, 0.4]]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["spike", "kgat"]
    save(figure, tmp_path / "plot.png.partial")
    assert (tmp_path / "plot.png.partial").read_bytes().startswith(b"\x89PNG")
