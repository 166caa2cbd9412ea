"""Tables with a row per node, sharded over the hosts: ID embeddings with their moments, texts, and states."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spike_dgl.dgl_import import dgl
from spike_dgl.partitions.layout import NODE_TYPE, Layout

ROWS_AT_ONCE = 1 << 16
"""Number of rows fetched or written at once where all are needed."""


class SummedSparseAdam(dgl.distributed.optim.SparseAdam):  # type: ignore[misc,name-defined]
    """DGL's sparse Adam with gradients that add up over processes.

    DGL's takes the mean over the processes that used a row, so that a row's gradient would depend on how many did.
    """

    def update(self, idx: Tensor, grad: Tensor, emb: Any) -> None:
        """Update rows `idx`, which may occur repeatedly, with gradients `grad`."""
        _, place, counts = torch.unique(idx, return_inverse=True, return_counts=True)
        super().update(idx, grad * counts[place].unsqueeze(1), emb)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        rate: float = self._lr
        return rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._lr = value


@dataclass(frozen=True)
class Own:
    """Nodes and users of one trainer: `nodes` and `users` are ids, `part_users` counts from 0 in the part."""

    nodes: range
    users: range
    part_users: range

    @classmethod
    def of(cls, layout: Layout, part: int, trainer: int, trainers: int) -> Own:
        """Return the share of one of a part's trainers."""
        users = layout.part(part, 0)
        share = _share(range(len(users)), trainer, trainers)
        of_all = range(users.start + share.start, users.start + share.stop)
        return cls(_share(layout.part(part), trainer, trainers), of_all, share)


def _share(whole: range, number: int, of: int) -> range:
    first, end = (whole.start + len(whole) * edge // of for edge in (number, number + 1))
    return range(first, end)


class Tables:
    """Tables of a run. All processes must create it together.

    Parameters
    ----------
    graph
        DistDGL's graph.
    layout
        Layout of the parts.
    own
        Nodes of this process.
    dim
        D.
    learning_rate
        Learning rate of the ID embeddings.
    """

    def __init__(self, graph: Any, layout: Layout, own: Own, dim: int, learning_rate: float) -> None:
        self.graph, self.layout, self.own, self.dim = graph, layout, own, dim
        self._policy = self.graph.get_node_partition_policy(NODE_TYPE)
        self.ids = dgl.distributed.DistEmbedding(
            layout.num_nodes, dim, "ids", init_func=zeros, part_policy=self._policy
        )
        self.optimizer = SummedSparseAdam([self.ids], lr=learning_rate)
        self.steps, self.means, self.powers = self.optimizer._state[self.ids.name]
        # Two tables of states: a hop reads one and writes the other.
        self.states = [self._table(f"states{number}") for number in range(2)]

    def _table(self, name: str) -> Any:
        return dgl.distributed.DistTensor(
            (self.layout.num_nodes, self.dim),
            torch.float32,
            name,
            init_func=zeros,
            part_policy=self._policy,
            is_gdata=False,
        )

    def initialise(self, seed: int) -> None:
        """Draw the ID embeddings of this process's nodes, uniformly as Xavier initialisation of the whole table."""
        generator = torch.Generator().manual_seed(seed)
        bound = math.sqrt(6.0 / (self.layout.num_nodes + self.dim))
        for ids in chunks(self.own.nodes):
            drawn = torch.rand(len(ids), self.dim, generator=generator)
            self.ids.weight[ids] = (2 * drawn - 1) * bound

    def texts(self, ids: Tensor) -> Tensor | None:
        """Return the text vectors [n, d_t] of nodes; None if the parts have none."""
        if not self.layout.text_dim:
            return None
        texts: Tensor = self.graph.ndata["text"][ids]
        return texts

    def original_rows(self, ids: range | Tensor) -> Tensor:
        """Return the rows of nodes in the data set, 0..U+N-1, users first."""
        return fetch(self.graph.ndata["row"], ids)


def zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Create the part of a table; servers call it."""
    return torch.zeros(shape, dtype=dtype)


def chunks(ids: range, size: int = ROWS_AT_ONCE) -> Iterator[Tensor]:
    """Yield consecutive ids in tensors of at most a size."""
    for first in range(ids.start, ids.stop, size):
        yield torch.arange(first, min(first + size, ids.stop))


def fetch(table: Any, ids: range | Tensor) -> Tensor:
    """Return rows of a table, in several requests if there are many."""
    return torch.cat(list(in_parts(table, ids)))


def in_parts(table: Any, ids: range | Tensor) -> Iterator[Tensor]:
    """Yield rows of a table, at most `ROWS_AT_ONCE` at a time."""
    for part in chunks(ids) if isinstance(ids, range) else torch.split(ids, ROWS_AT_ONCE):
        yield table[part]
