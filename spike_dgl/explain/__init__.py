"""Why a trained model recommends what it does: paths of the graph, what removing them does, and attention."""

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
    # Only what explains needs torch and DGL, which take seconds to import; what is said does not.
    if name != "Explainer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from spike_dgl.explain.explainer import Explainer

    return Explainer
