"""Reading, splitting and checking data sets, without torch or dgl."""

from __future__ import annotations

from spike_dgl.data.dataset import Dataset, Interactions, NodeTexts, NodeVectors, Triples, Vocabulary
from spike_dgl.data.load import load_dataset

__all__ = [
    "Dataset",
    "Interactions",
    "NodeTexts",
    "NodeVectors",
    "Triples",
    "Vocabulary",
    "load_dataset",
]
