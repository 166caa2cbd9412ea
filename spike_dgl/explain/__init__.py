"""Explanations of recommendations: paths of the graph, effects of their removal, and attention."""

from typing import TYPE_CHECKING, Any

from spike_dgl.explain.attention import Attention, AttentionEdge
from spike_dgl.explain.explanation import Explanation, Fidelity, Link, Node, Path, ScoreParts

if TYPE_CHECKING:
    from spike_dgl.explain.explainer import Explainer

__all__ = [
    "Attention",
    "AttentionEdge",
    "Explainer",
    "Explanation",
    "Fidelity",
    "Link",
    "Node",
    "Path",
    "ScoreParts",
]


def __getattr__(name: str) -> Any:
    # Lazy, because only the explainer needs torch and DGL, which take seconds to import.
    if name != "Explainer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from spike_dgl.explain.explainer import Explainer

    return Explainer
