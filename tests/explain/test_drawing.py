"""Drawings of explanations: all nodes and links of the paths, from left to right, with any names."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from spike_dgl.explain.explanation import Explanation, Fidelity, Link, Node, Path, ScoreParts
from spike_dgl.plots.network import THINNEST, WIDEST

USER, ITEM = Node("user", "u7", "u7"), Node("item", "i0", "A$AP and Ke$ha_\n$\\frac$")
HEAT, CASINO = Node("item", "i1", "Heat"), Node("item", "i2", "Casino")
ACTOR, OTHER = Node("entity", "e5", "Robert De Niro"), Node("user", "u8", "u8")


def path(inner: list[Node], relations: list[str], drop: float) -> Path:
    links = tuple(Link(relation, True, "item", 1, (1.0,), (1.0,)) for relation in relations)
    return Path((USER, *inner, ITEM), links, 1, 0.5, Fidelity(drop, None, 0, None), "")


def links(figure) -> list:
    return [line for line in figure.axes[0].lines if len(line.get_xdata())]


def explanation(*paths: Path) -> Explanation:
    return Explanation(USER, ITEM, 3.0, ScoreParts(1.0, 2.5, -0.5), paths, len(paths), "all", "")


@pytest.fixture
def figure():
    return explanation(
        path([HEAT, ACTOR], ["interacts", "starring", "starring"], 0.4),
        path([CASINO, ACTOR], ["interacts", "starring", "starring"], 0.1),
        path([CASINO, OTHER], ["interacts", "interacts", "interacts"], -0.2),
        path([], ["interacts"], 0.3),
    ).to_figure()


def test_nodes_stand_where_they_are_on_their_paths(figure) -> None:
    places = {text.get_text(): text.xy[0] for text in figure.axes[0].texts}
    label = next(name for name in places if name.startswith("A$AP"))
    assert places == {
        "user u7": 0,
        "Heat": 1,
        "Casino": 1,
        "Robert De Niro": 2,
        "user u8": 2,
        label: 3,
    }


def test_links_are_as_wide_as_the_drops_of_their_paths(figure) -> None:
    (axis,) = figure.axes
    names = {tuple(text.xy): text.get_text() for text in axis.texts}
    widths = {}
    for line in links(figure):
        x, y = line.get_xdata(), line.get_ydata()
        widths[names[x[0], y[0]], names[x[-1], y[-1]][:4]] = line.get_linewidth()
    widest = 0.5  # over Robert De Niro
    expected = {
        ("user u7", "Heat"): 0.4,
        ("user u7", "Casi"): 0.1,
        ("user u7", "A$AP"): 0.3,
        ("Heat", "Robe"): 0.4,
        ("Casino", "Robe"): 0.1,
        ("Robert De Niro", "A$AP"): widest,
    }
    for ends, drop in expected.items():
        assert widths.pop(ends) == pytest.approx(WIDEST * drop / widest)
    # Removing these raises the score.
    assert widths == {("Casino", "user"): THINNEST, ("user u8", "A$AP"): THINNEST}


def test_a_link_passes_below_the_columns_between_its_ends(figure) -> None:
    (long,) = [line for line in links(figure) if np.ptp(line.get_xdata()) > 1]
    between = [y for x, y in zip(long.get_xdata(), long.get_ydata(), strict=True) if 0.8 < x < 2.2]
    lowest = min(text.xy[1] for text in figure.axes[0].texts)
    assert max(between) < lowest - 0.5


def test_names_are_no_formulas_and_a_figure_without_paths_says_so(figure) -> None:
    figure.savefig(BytesIO(), format="png")  # "\frac" alone is no formula that could be drawn
    bare = explanation().to_figure()
    bare.savefig(BytesIO(), format="png")
    assert "no path" in bare.get_suptitle()
    assert not bare.legends
