"""Plots, checked by the content of the figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from spike_dgl.plots import (
    BLUE,
    GREY,
    ORANGE,
    Edge,
    Interval,
    Node,
    Point,
    bars,
    density,
    dots,
    histograms,
    intervals,
    lines,
    maps,
    network,
    save,
)
from spike_dgl.plots.distributions import running_median
from spike_dgl.plots.network import WIDEST


def test_bars_stand_in_the_order_of_the_table_in_every_panel() -> None:
    points = {"spike": Point(0.3, 0.01), "lightgcn": Point(0.2)}
    figure = bars("Which?", {"test recall@20": points, "test ndcg@20": points}, highlighted="spike")
    for axis, metric in zip(figure.axes, ("test recall@20", "test ndcg@20"), strict=True):
        assert list(axis.get_yticks()) == [0, 1]
        assert [patch.get_width() for patch in axis.patches] == [0.3, 0.2]
        assert axis.yaxis_inverted()
        assert axis.get_xlabel() == metric
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


def test_places_may_have_names_that_are_no_numbers() -> None:
    names = ["1-12 training items", "13-20 training items"]
    (axis,) = lines("t", "x", {"recall@20": {"a": {0: Point(0.1), 1: Point(0.2)}}}, place_names=names).axes
    assert list(axis.get_xticks()) == [0, 1]
    assert [text.get_text().replace("\n", " ") for text in axis.get_xticklabels()] == names


def test_lines_of_one_label_have_one_colour_in_all_panels() -> None:
    first, second = {0.0: Point(0.1)}, {0.0: Point(0.2)}
    figure = lines("t", "x", {"one": {"a": first, "b": second}, "two": {"b": second}})
    colours = [[line[0].get_color() for line in axis.containers] for axis in figure.axes]
    assert colours[0][1] == colours[1][0] != colours[0][0]


def test_dots_stand_in_their_rows_and_leave_out_what_is_not_there() -> None:
    panels = {"layer 1": {"starring": {"head 1": 0.2, "head 2": 0.4}, "genre": {"head 2": 0.1}}}
    figure = dots("t", "share", panels)
    (axis,) = figure.axes
    assert [offsets.get_offsets().tolist() for offsets in axis.collections] == [
        [[0.2, 0.0]],
        [[0.4, 0.0], [0.1, 1.0]],
    ]
    assert axis.get_xlim()[0] == 0.0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["head 1", "head 2"]


def test_dots_against_a_reference_are_not_read_from_zero() -> None:
    (axis,) = dots("t", "x", {"p": {"r": {"s": 1.2}}}, reference=1.0).axes
    assert [1.0, 1.0] in [list(line.get_xdata()) for line in axis.lines]
    assert axis.get_xlim()[0] > 0.5


def test_the_colour_of_an_interval_says_on_which_side_of_zero_it_lies() -> None:
    rows = {"up": Interval(2, 1, 3), "down": Interval(-2, -3, -1), "unclear": Interval(0.5, -1, 2)}
    (axis,) = intervals("t", "difference", rows).axes
    ends = {
        line.get_color(): list(line.get_xdata()) for line in axis.lines if line.get_solid_capstyle() == "butt"
    }
    assert ends == {ORANGE: [1, 3], BLUE: [-3, -1], GREY: [-1, 2]}


def test_a_histogram_counts_shares_and_leaves_out_what_is_no_number() -> None:
    values = np.array([0.0, 0.0, 1.0, np.nan], dtype=np.float32)
    axis = histograms("t", "x", {"p": {"s": values}}, columns=1).axes[0]
    heights = axis.patches[0].get_xy()[:, 1]
    assert sorted(set(np.round(heights, 4))) == pytest.approx([0.0, 1 / 3, 2 / 3], abs=1e-3)


def test_a_map_colours_the_largest_groups_and_leaves_the_rest_grey() -> None:
    places = np.arange(10, dtype=np.float32).reshape(5, 2)
    figure = maps("t", {"before": places, "after": -places}, ["a", "a", "b", "", "a"])
    for axis, sign in zip(figure.axes, (1, -1), strict=True):
        found = {points.get_label(): points.get_offsets().tolist() for points in axis.collections}
        assert found["a"] == (sign * places[[0, 1, 4]]).tolist()
        assert found["other"] == (sign * places[[3]]).tolist()


def test_a_running_median_is_that_of_equal_parts() -> None:
    x, y = np.array([3.0, 1.0, 2.0, 4.0]), np.array([30.0, 10.0, 20.0, 40.0])
    places, medians = running_median(x, y, parts=2)
    assert places.tolist() == [1.5, 3.5]
    assert medians.tolist() == [15.0, 35.0]
    (axis,) = density("t", "x", "y", {"p": (x, y)}).axes
    assert axis.lines[0].get_ydata().tolist() == [10.0, 20.0, 30.0, 40.0]


def test_edges_of_a_network_are_as_wide_as_they_weigh_and_join_their_nodes() -> None:
    nodes = [Node("user 1", "user", 0), Node("Toy Story (1995)", "item", 1), Node("Heat (1995)", "item", 1)]
    figure = network("t", nodes, [Edge(0, 1, "liked", 1.0), Edge(0, 2, "liked", 0.5)])
    (axis,) = figure.axes
    drawn = [line for line in axis.lines if len(line.get_xdata())]
    assert [line.get_linewidth() for line in drawn] == [WIDEST, WIDEST / 2]
    place = {text.get_text(): text.xy for text in axis.texts}
    assert place["user 1"] == (drawn[0].get_xdata()[0], drawn[0].get_ydata()[0])
    assert place["Heat (1995)"] == (drawn[1].get_xdata()[-1], drawn[1].get_ydata()[-1])
    assert place["Toy Story (1995)"][1] > place["Heat (1995)"][1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["liked"]
