"""Final embeddings of all nodes, layer by layer: each process computes its own nodes from all of their neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from spike_dgl.models.base import CPU, Embeddings
from spike_dgl.models.deviation import Moments, deviation_by_moments
from spike_dgl.models.popularity_term import PopularityTerm
from spike_dgl.nn.kernels.rows import normalise
from spike_dgl.partitions.models import PartitionedModel
from spike_dgl.partitions.sampler import PartitionSampler
from spike_dgl.partitions.tables import Tables, chunks, fetch
from spike_dgl.training.distributed import Processes
from spike_dgl.typing import FloatArray


@torch.no_grad()
def propagate(model: PartitionedModel, tables: Tables, sampler: PartitionSampler) -> None:
    """Write the final embeddings of all nodes to ``tables.states[0]``. All processes must call it together."""
    model.model.eval()
    layout, own, present, following = tables.layout, tables.own.nodes, *tables.states
    total = torch.empty(len(own), tables.dim)
    for ids in chunks(own):
        state, total[ids - own.start] = _start(model, tables, ids)
        present[ids] = state
    for hop in range(model.num_hops):
        distributed.barrier()  # all have written the states that others read now
        for block in sampler.parts_of(own):
            nodes, dst = layout.ids(block.nodes), layout.ids(block.nodes[block.dst])
            state = model.hop(hop, block, fetch(present, nodes))
            total[dst - own.start] = model.add(total[dst - own.start], state, hop)
            following[dst] = state
        present, following = following, present
    distributed.barrier()
    for ids in chunks(own):
        tables.states[0][ids] = total[ids - own.start]
    distributed.barrier()


def _start(model: PartitionedModel, tables: Tables, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first states and totals of nodes, in the order of `ids`."""
    num_users = int((tables.layout.kinds(ids) == 0).sum())  # users come first in a part, so also in `ids`
    state, total, _ = model.start(tables.ids.weight[ids], tables.texts(ids), num_users)
    return state, total


def embeddings(model: PartitionedModel, tables: Tables) -> Embeddings:
    """Return the embeddings of this process's users, and of all items, after `propagate`; normalised for cosines."""
    users, items = (fetch(tables.states[0], ids) for ids in (tables.own.users, tables.layout.all_item_ids))
    return Embeddings(scored(model, users), scored(model, items))


def with_popularity_term(
    own: Embeddings, popularity: FloatArray, weight: float, processes: Processes
) -> Embeddings:
    """Add the popularity term to `embeddings`, as one more dimension. All processes must call it together.

    Parameters
    ----------
    own
        Embeddings of this process's users, and of all items.
    popularity
        Recent popularity [I] of items.
    weight
        Weight of the term; 0 for none.
    processes
        Processes of all users, whose scores are the scale of the term.
    """
    if not weight:
        return own
    of_users = Moments(*processes.add_up(Moments.of(own.users)))
    deviation = deviation_by_moments(of_users, Moments.of(own.items))
    term = PopularityTerm.of(popularity, weight, CPU)
    return own.plus(Embeddings(own.users.new_full((len(own.users), 1), deviation), term.items))


def scored(model: PartitionedModel, rows: Tensor) -> Tensor:
    """Return final embeddings [n, D], normalised if scores are cosines."""
    return rows if model.options.score_temperature is None else normalise(rows)
