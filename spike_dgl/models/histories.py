"""Models that score by users' histories, in which recent interactions can have more weight."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy import sparse
from torch import Tensor

from spike_dgl.config import STRICT
from spike_dgl.dgl_import import DGLGraph
from spike_dgl.errors import MissingTimesError
from spike_dgl.graph import INTERACTS
from spike_dgl.models.base import ModelInputs, RecommenderModel, ScoreFunction
from spike_dgl.nn.graphs.interactions import interaction_matrix


@dataclass(frozen=True, config=STRICT)
class HistoryOptions:
    """Settings that all models share that score by users' histories without being trained.

    Parameters
    ----------
    half_life
        Number of later interactions of the same user after which an interaction counts half, when a user is scored.
        None: all interactions count alike, as in the papers. A number needs data with times.
    """

    half_life: float | None = Field(default=None, gt=0.0)


HISTORY_SEARCH: Mapping[str, Sequence[Any]] = MappingProxyType({"model.half_life": (None, 5.0, 20.0)})
"""Search space of `HistoryOptions`; tuned only if the data has times."""


def history_matrix(graph: DGLGraph, half_life: float | None) -> sparse.csr_matrix:
    """Return the histories of users as a matrix [U, I] in float32.

    Parameters
    ----------
    graph
        The heterograph of `spike_dgl.graph.build_graph`.
    half_life
        None: all values are 1. Else the value is 2^(-r / half_life), where r is the number of the user's later
        interactions.

    Raises
    ------
    MissingTimesError
        If there is a half-life, and the interactions have no times.
    """
    return interaction_matrix(
        graph, None if half_life is None else np.exp2(-_later(graph, half_life) / half_life)
    )


def _later(graph: DGLGraph, half_life: float) -> Any:
    """Return the number of later interactions of the same user, for each interaction."""
    edges = graph.edges[INTERACTS].data
    if "place" not in edges:
        raise MissingTimesError("model.half_life", f"{half_life:g}", "null")
    users, _ = graph.edges(etype=INTERACTS, order="eid")
    return (torch.bincount(users)[users] - 1 - edges["place"]).numpy()


class ItemToItem(RecommenderModel):
    """Linear model of items: a user's scores are h W, h the user's history [I] and W the weights of item pairs [I, I].

    W is fitted to unweighted interactions, when scores are asked for; `HistoryOptions` weight only h.

    Parameters
    ----------
    inputs
        The graph.
    options
        See `HistoryOptions`.

    Raises
    ------
    MissingTimesError
        If histories are to be weighted, and the interactions have no times.
    """

    def __init__(self, inputs: ModelInputs, options: HistoryOptions) -> None:
        super().__init__()
        self.interactions = interaction_matrix(inputs.graph)
        self.histories = history_matrix(inputs.graph, options.half_life)

    @abstractmethod
    def fit(self) -> Any:
        """Return W, sparse or dense."""

    @cached_property
    def weights(self) -> Any:
        """W in float32; a dense one by rows, since scipy would copy another in every product."""
        weights = self.fit().astype(np.float32)
        return weights if sparse.issparse(weights) else np.ascontiguousarray(weights)

    def score_function(self) -> ScoreFunction:
        """Return h W for a batch of users; fits W at the first call."""
        histories, weights = self.histories, self.weights
        return lambda users: dense_tensor(histories[users.numpy()] @ weights)


def dense_tensor(scores: Any) -> Tensor:
    """Return a sparse or dense matrix as a dense tensor."""
    return torch.from_numpy(np.asarray(scores.toarray() if sparse.issparse(scores) else scores))
