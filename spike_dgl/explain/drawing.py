"""Drawings of explanations."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import spike_dgl.plots as plots
from spike_dgl.explain.explanation import Explanation, Node

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHAPES = {"user": "ellipse", "item": "box", "entity": "diamond"}
_TITLE_WIDTH = 26
"""Number of title characters per column."""
_NO_DROP = 1e-6
"""Width of a link whose removal does not lower the score: the minimum."""


def to_dot(explanation: Explanation) -> str:
    """Render the nodes and links of all paths in the DOT language."""
    nodes: dict[tuple[str, str], str] = {}
    edges: dict[tuple[str, str, str], float] = {}
    for path in explanation.paths:
        for node in path.nodes:
            nodes.setdefault((node.kind, node.id), _node(node))
        for before, link, after in zip(path.nodes, path.links, path.nodes[1:], strict=False):
            ends = (before, after) if link.forward else (after, before)
            key = (_name(ends[0]), _name(ends[1]), link.relation)
            edges[key] = edges.get(key, 0.0) + max(path.fidelity.drop, 0.0)
    widest = max(edges.values(), default=0.0) or 1.0
    return "\n".join(
        [
            "digraph explanation {",
            "  rankdir=LR;",
            *(f"  {node}" for node in nodes.values()),
            *(
                f"  {head} -> {tail} [label={_quoted(relation)}, penwidth={1 + 3 * drop / widest:.2f}];"
                for (head, tail, relation), drop in edges.items()
            ),
            "}",
        ]
    )


def to_figure(explanation: Explanation) -> Figure:
    """Draw all paths from left to right; the width of a link is the score drop when its paths are removed.

    A node is drawn once for each position that it has on a path, so that no link runs backwards.
    """
    last = max((len(path.links) for path in explanation.paths), default=1)
    places: dict[tuple[str, str, int], int] = {}
    nodes: list[plots.Node] = []

    def place(node: Node, column: int) -> int:
        key = node.kind, node.id, column
        if key not in places:
            places[key] = len(nodes)
            label = f"user {node.name}" if node.kind == "user" else node.name
            nodes.append(plots.Node(label, node.kind, column))
        return places[key]

    ends = place(explanation.user, 0), place(explanation.item, last)
    widths: dict[tuple[int, int, str], float] = {}
    for path in explanation.paths:
        inner = [place(node, column) for column, node in enumerate(path.nodes[1:-1], start=1)]
        stops = [ends[0], *inner, ends[1]]
        for left, right, link in zip(stops, stops[1:], path.links, strict=False):
            key = left, right, link.relation
            widths[key] = widths.get(key, 0.0) + max(path.fidelity.drop, 0.0)
    edges = [plots.Edge(*key, weight=width or _NO_DROP) for key, width in widths.items()]
    return plots.network(_title(explanation, last + 1), nodes, edges)


def _title(explanation: Explanation, num_columns: int) -> str:
    parts = ", ".join(f"{name} {part:+.2f}" for name, part in explanation.parts.by_name().items())
    asked = f"Why user {explanation.user.name} gets {explanation.item.name}"
    lines = [
        *textwrap.wrap(asked, _TITLE_WIDTH * num_columns),
        f"score {explanation.score:.2f} = {parts}",
        "width of a link: score drop when it is removed"
        if explanation.paths
        else "no path of the graph connects the two",
    ]
    return "\n".join(lines)


def _node(node: Node) -> str:
    return f"{_name(node)} [label={_quoted(node.name)}, shape={_SHAPES[node.kind]}];"


def _name(node: Node) -> str:
    return _quoted(f"{node.kind} {node.id}")


def _quoted(text: str) -> str:
    """Quote a string for DOT."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", " ").replace("\n", " ")
    return f'"{escaped}"'
