"""Scores of an item for a user after edges are removed from the graph.

Removing a link changes the states of few nodes. Only these are recomputed, hop by hop and for many removals at a time,
with the model's own hop on a small `MessageGraph`. All other states are taken from the pass over the whole graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spike_dgl.explain.arcs import Arcs
from spike_dgl.models.spike import Spike, SpikeStates
from spike_dgl.nn.graphs.messages import MessageGraph
from spike_dgl.nn.kernels.rows import normalise
from spike_dgl.typing import BoolArray, FloatArray, IndexArray

REMOVALS_AT_A_TIME = 64


@dataclass(frozen=True)
class _States:
    """States of the nodes that removals change.

    Parameters
    ----------
    keys
        Number [V] of the removal times the number of all nodes, plus the node; ascending.
    state
        Changed states [V, D].
    """

    keys: IndexArray
    state: Tensor


class Removal:
    """Scorer of a user and an item on graphs without some arcs.

    Parameters
    ----------
    model
        Model in evaluation mode.
    states
        Result of `Spike.propagate` on the whole graph, without gradients.
    arcs
        Arcs of the model's graph.
    """

    def __init__(self, model: Spike, states: SpikeStates, arcs: Arcs) -> None:
        self._model, self._states, self._arcs = model, states, arcs
        self._num_nodes = len(states.final)

    def scores(self, user: int, item: int, removed: Sequence[IndexArray]) -> FloatArray:
        """Return the score [K] after each of K removals; both ends are rows in 0..U+N-1."""
        wanted = self._wanted(np.array([user, item]))
        portions = [
            self._scores(user, item, removed[start : start + REMOVALS_AT_A_TIME], wanted)
            for start in range(0, len(removed), REMOVALS_AT_A_TIME)
        ]
        return np.concatenate([np.empty(0, np.float32), *portions])

    def _wanted(self, ends: IndexArray) -> list[IndexArray]:
        """Return for each hop the nodes whose states after it affect the two ends."""
        wanted = [np.unique(ends)]
        for _ in range(self._model.options.num_layers - 1):
            src = self._arcs.src[self._arcs.in_arcs(wanted[0])[0]]
            wanted.insert(0, np.union1d(wanted[0], src))
        return wanted

    @torch.no_grad()
    def _scores(
        self, user: int, item: int, removed: Sequence[IndexArray], wanted: list[IndexArray]
    ) -> FloatArray:
        removal = np.repeat(np.arange(len(removed)), [len(arcs) for arcs in removed])
        arcs = np.concatenate(removed) if len(removal) else removal
        lost = np.unique(removal * len(self._arcs) + arcs)
        direct = np.unique(removal * self._num_nodes + self._arcs.dst[arcs])
        totals = {end: self._states.final[end].repeat(len(removed), 1) for end in (user, item)}
        before = _States(direct[:0], self._states.final[:0])
        for layer, nodes in enumerate(wanted, start=1):
            keys = np.union1d(direct, self._out_neighbours(before.keys))
            keys = keys[np.isin(keys % self._num_nodes, nodes)]
            before = _States(keys, self._hop(keys, before, lost, layer))
            for end, total in totals.items():
                rows = np.flatnonzero(keys % self._num_nodes == end)
                gain = before.state[rows] - self._states.layers[layer][end]
                total[keys[rows] // self._num_nodes] += gain
        return pair_scores(self._model, totals[user], totals[item]).cpu().numpy()

    def _out_neighbours(self, changed: IndexArray) -> IndexArray:
        """Return the keys of the nodes that receive messages from changed ones."""
        removal, node = np.divmod(changed, self._num_nodes)
        arcs, which = self._arcs.out_arcs(node)
        return np.unique(removal[which] * self._num_nodes + self._arcs.dst[arcs])

    def _hop(self, keys: IndexArray, before: _States, lost: IndexArray, layer: int) -> Tensor:
        """Compute the states [V, D] of the nodes in `keys` after a hop, from the states before it."""
        removal, node = np.divmod(keys, self._num_nodes)
        arcs, which = self._arcs.in_arcs(node)
        kept = ~np.isin(removal[which] * len(self._arcs) + arcs, lost)
        arcs, which = arcs[kept], which[kept]
        table = torch.cat([self._states.layers[layer - 1], before.state])
        src_rows = self._rows(removal[which], self._arcs.src[arcs], before)
        # Each dst has its own row, since the same node may receive different messages in another removal.
        src_rows, src = np.unique(src_rows, return_inverse=True)
        rows = np.concatenate([src_rows, self._rows(removal, node, before)])
        is_user = np.concatenate([self._is_user(src_rows, before), node < self._arcs.num_users])
        order = np.argsort(~is_user, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        dst = place[len(src_rows) :]
        messages = self._messages(arcs, place[src], dst[which], int(is_user.sum()), len(rows))
        state, _ = self._model.conv.hop(messages, table[rows[order]], torch.from_numpy(dst))
        return state

    def _rows(self, removal: IndexArray, node: IndexArray, before: _States) -> IndexArray:
        """Return the rows of some nodes in a table of all states followed by the changed ones."""
        if not len(before.keys):
            return node
        wanted = removal * self._num_nodes + node
        place = np.minimum(np.searchsorted(before.keys, wanted), len(before.keys) - 1)
        return np.where(before.keys[place] == wanted, self._num_nodes + place, node)

    def _is_user(self, rows: IndexArray, before: _States) -> BoolArray:
        changed = rows >= self._num_nodes
        nodes = rows.copy()
        nodes[changed] = before.keys[rows[changed] - self._num_nodes] % self._num_nodes
        users: BoolArray = nodes < self._arcs.num_users
        return users

    def _messages(
        self, arcs: IndexArray, src: IndexArray, dst: IndexArray, num_users: int, num_nodes: int
    ) -> MessageGraph:
        pooled = torch.from_numpy(self._arcs.is_pooling(arcs))
        attended, relation = ~pooled, torch.from_numpy(self._arcs.relation[arcs])
        src_rows, dst_rows = torch.from_numpy(src), torch.from_numpy(dst)
        return MessageGraph.from_edges(
            (src_rows[attended], dst_rows[attended], relation[attended]),
            (src_rows[pooled], dst_rows[pooled]),
            num_users,
            num_nodes - num_users,
        )


def pair_scores(model: Spike, users: Tensor, items: Tensor) -> Tensor:
    """Return the scores [K] of K users and items from their final embeddings [K, D]."""
    if model.options.score_temperature is not None:
        users, items = normalise(users), normalise(items)
    return (users * items).sum(dim=1)
