"""Why a trained model recommends what it does: paths of the graph, what removing them does, and attention."""

from spike_dgl.explain.attention import Attention, AttentionEdge
from spike_dgl.explain.explainer import Explainer
from spike_dgl.explain.explanation import Explanation, Fidelity, Link, Node, Path, ScoreParts

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
