"""Explanations as graphs."""

from __future__ import annotations

from spike_dgl.explain.explanation import Explanation, Node

_SHAPES = {"user": "ellipse", "item": "box", "entity": "diamond"}


def to_dot(explanation: Explanation) -> str:
    """The nodes and links of all paths in the DOT language; names are quoted, whatever they hold."""
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


def _node(node: Node) -> str:
    return f"{_name(node)} [label={_quoted(node.name)}, shape={_SHAPES[node.kind]}];"


def _name(node: Node) -> str:
    return _quoted(f"{node.kind} {node.id}")


def _quoted(text: str) -> str:
    """A quoted string of DOT: a backslash would start an escape, and a quotation mark end it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", " ").replace("\n", " ")
    return f'"{escaped}"'
