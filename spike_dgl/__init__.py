"""SPiKE on DGL: recommendation with knowledge graphs and LLM-written profiles.

>>> import spike_dgl
>>> dataset = spike_dgl.load_dataset("movielens")
>>> spike_dgl.build_graph(dataset).ntypes
['entity', 'user']
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spike_dgl.threads import wait_passively

if TYPE_CHECKING:
    from spike_dgl.api import Run, train
    from spike_dgl.data.load import load_dataset
    from spike_dgl.evaluation.evaluate import evaluate
    from spike_dgl.explain.explainer import Explainer
    from spike_dgl.graph import build_graph
    from spike_dgl.nn.layers.spike_conv import SpikeConv
    from spike_dgl.recommend.recommender import Recommender

__version__ = "0.2.0"
__all__ = [
    "Explainer",
    "Recommender",
    "Run",
    "SpikeConv",
    "build_graph",
    "evaluate",
    "load_dataset",
    "train",
]

_HOMES = {
    "Explainer": "spike_dgl.explain.explainer",
    "Recommender": "spike_dgl.recommend.recommender",
    "Run": "spike_dgl.api",
    "SpikeConv": "spike_dgl.nn.layers.spike_conv",
    "build_graph": "spike_dgl.graph",
    "evaluate": "spike_dgl.evaluation.evaluate",
    "load_dataset": "spike_dgl.data.load",
    "train": "spike_dgl.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch and DGL take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'spike_dgl' has no attribute '{name}'")
    wait_passively()
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
