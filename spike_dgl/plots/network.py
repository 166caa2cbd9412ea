"""Drawings of small graphs, with nodes in columns and edges as wide as their weights."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spike_dgl.plots.style import COLOURS, new_figure
from spike_dgl.typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILL = {"user": "#f6d9c6", "item": "#cfe3f1", "entity": "#e6e6e6"}
THINNEST, WIDEST = 0.8, 9.0
"""Minimum and maximum width of an edge, in points."""
ALIKE = 2.5
"""Width of edges if all have the same weight."""
BELOW = -0.2
"""Vertical position of edges that pass below columns; rows are one apart."""
LABEL_WIDTH = 24
"""Maximum number of characters per line of a label."""


@dataclass(frozen=True)
class Node:
    """Node of a drawn graph.

    Parameters
    ----------
    label
        Text in its box.
    kind
        Type of the node, which determines its colour.
    column
        Column from left to right, from 0. Nodes in a column keep their order.
    """

    label: str
    kind: Literal["user", "item", "entity"]
    column: int


@dataclass(frozen=True)
class Edge:
    """Edge of a drawn graph, between positions in the list of nodes; its weight is above zero."""

    source: int
    target: int
    relation: str
    weight: float = 1.0


def network(title: str, nodes: Sequence[Node], edges: Sequence[Edge]) -> Figure:
    """Draw a graph with columns of boxes; the colour of an edge is its relation, the width its weight.

    Edges from left to right over more than one column pass below the columns in between.

    Parameters
    ----------
    title
        Title of the figure.
    nodes, edges
        The graph.
    """
    columns = [[n for n, node in enumerate(nodes) if node.column == c] for c in range(_num_columns(nodes))]
    tallest = max(map(len, columns), default=1)
    height = 1.6 + 0.62 * max(tallest, 3) + 0.27 * title.count("\n")
    figure, (axis,) = new_figure(title, 1, width=max(6.4, 3.6 * len(columns)), height=height)
    places = {
        node: (float(number), tallest * (1 - (row + 0.5) / len(column)))
        for number, column in enumerate(columns)
        for row, node in enumerate(column)
    }
    relations = list(dict.fromkeys(edge.relation for edge in edges))
    for edge, width in zip(edges, _widths(edges), strict=True):
        _draw_edge(axis, edge, places, COLOURS[relations.index(edge.relation) % len(COLOURS)], width)
    for node, place in places.items():
        _draw_node(axis, nodes[node], place)
    for number, relation in enumerate(relations):
        axis.plot([], [], color=COLOURS[number % len(COLOURS)], lw=4, label=relation.replace("_", " "))
    axis.set(xlim=(-0.45, len(columns) - 0.55), ylim=(2 * BELOW, tallest))
    axis.axis("off")
    if relations:
        columns_of_legend = min(len(relations), 5)
        legend = figure.legend(
            loc="outside lower center", ncols=columns_of_legend, frameon=False, fontsize=12
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure


def _num_columns(nodes: Sequence[Node]) -> int:
    return 1 + max((node.column for node in nodes), default=0)


def _widths(edges: Sequence[Edge]) -> list[float]:
    weights = [edge.weight for edge in edges]
    if len(set(weights)) < 2:
        return [ALIKE] * len(weights)
    return [max(THINNEST, WIDEST * weight / max(weights)) for weight in weights]


def _course(start: tuple[float, float], end: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """Return points [2, n] of an edge. It is level at the boxes, and passes below the columns in between."""
    stops = [start, end]
    if end[0] - start[0] > 1:
        stops[1:1] = [(start[0] + 1, BELOW), (end[0] - 1, BELOW)]
    along = np.linspace(0.0, 1.0, 41)
    rise = np.clip(2.0 * along - 0.5, 0.0, 1.0)
    rise = rise**2 * (3.0 - 2.0 * rise)
    pieces = [(x1 + (x2 - x1) * along, y1 + (y2 - y1) * rise) for (x1, y1), (x2, y2) in pairwise(stops)]
    x, y = np.concatenate(pieces, axis=1)
    return x, y


def _draw_edge(
    axis: Any, edge: Edge, places: dict[int, tuple[float, float]], colour: str, width: float
) -> None:
    x, y = _course(places[edge.source], places[edge.target])
    axis.plot(x, y, color=colour, alpha=0.75, lw=width, solid_capstyle="round", zorder=1)


def _draw_node(axis: Any, node: Node, place: tuple[float, float]) -> None:
    label = "\n".join(textwrap.wrap(node.label, LABEL_WIDTH, max_lines=2, placeholder=" …"))
    box = {
        "boxstyle": "round,pad=0.35",
        "facecolor": FILL[node.kind],
        "edgecolor": "#555555",
        "linewidth": 0.8,
    }
    axis.annotate(label, place, ha="center", va="center", fontsize=11, bbox=box, zorder=3, parse_math=False)
