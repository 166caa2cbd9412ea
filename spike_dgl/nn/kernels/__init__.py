"""The arithmetic along edges, in three forms that give the same numbers and gradients.

``compiled`` is for the CPU and holds next to no memory, ``torch`` runs on any device, ``dgl`` is DGL's message passing.
``auto`` is compiled on the CPU and torch elsewhere.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from spike_dgl.nn.kernels import compiled_attention, with_dgl, with_torch
from spike_dgl.nn.message_graph import Incidence, MessageGraph

Kernels = Literal["auto", "compiled", "torch", "dgl"]


def attend(
    messages: MessageGraph,
    projected: Tensor,
    states: Tensor,
    relations: Tensor,
    num_heads: int,
    kernels: Kernels = "auto",
) -> tuple[Tensor, Tensor]:
    """Every entity gathers messages, weighted by a softmax over all edges that enter it.

    The message of a pair (node t, relation r) has the key ``projected[t] * relations[r]`` and the value
    ``states[t] * relations[r]``; the query of an entity is its row of `projected`.

    Parameters
    ----------
    messages
        Pairs [P] and edges [E].
    projected, states
        [U + N, D], users first.
    relations
        [number of relation rows, D].
    num_heads
        H, a divisor of D.
    kernels
        What computes it.

    Returns
    -------
    gathered : Tensor
        [N, D]; zero for an entity without edges.
    attention : Tensor
        [E, H]; the weights of each entity's edges sum to one. Without gradient.
    """
    if kernels == "auto":
        kernels = "compiled" if states.device.type == "cpu" else "torch"
    form = {"compiled": compiled_attention, "torch": with_torch, "dgl": with_dgl}[kernels]
    gathered, attention = form.attend(messages, projected, states, relations, num_heads)
    return gathered, attention


def mean_of_sources(edges: Incidence, rows: Tensor, kernels: Kernels = "auto") -> Tensor:
    """Mean of the sources' rows [n, D] over each target's edges: [m, D], zero where there is none."""
    if kernels == "dgl":
        return with_dgl.mean_of_sources(edges, rows)
    return with_torch.mean_of_sources(edges, rows)
