"""Attention and means along edges, by three backends that give the same numbers and gradients.

``compiled`` is for the CPU and holds next to no memory, ``torch`` runs on any device, ``dgl`` is DGL's message passing.
``auto`` is compiled on the CPU and torch elsewhere.
"""

from __future__ import annotations

from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from spike_dgl.dgl_import import require_dgl_on
from spike_dgl.errors import ConfigError
from spike_dgl.nn.graphs.bipartite import BipartiteEdges
from spike_dgl.nn.graphs.messages import MessageGraph
from spike_dgl.nn.kernels import with_dgl, with_numba, with_torch
from spike_dgl.nn.precision import in_full_precision

Backend = Literal["auto", "compiled", "torch", "dgl"]


def require_backend_on(device: torch.device, backend: Backend) -> None:
    """Raise `ConfigError` where a backend does not run on a device."""
    if device.type == "cpu":
        return
    if backend == "compiled":
        raise ConfigError(
            f"model.backend is 'compiled', which runs on the CPU, and the device is {device.type}\n"
            "  Set model.backend=auto, or training.device=cpu."
        )
    if backend == "dgl":
        require_dgl_on(device, "model.backend=auto")


@in_full_precision
def attend(
    messages: MessageGraph,
    projected: Tensor,
    states: Tensor,
    relations: Tensor,
    num_heads: int,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """Sum each entity's messages, weighted by a softmax over all edges to it.

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
    backend
        What computes it.

    Returns
    -------
    gathered : Tensor
        [N, D]; zero for an entity without edges.
    attention : Tensor
        [E, H]; the weights of each entity's edges sum to one. Without gradient.
    """
    module = _module(backend, states.device)
    gathered, attention = module.attend(messages, projected, states, relations, num_heads)
    return gathered, attention


@in_full_precision
def mean_of_sources(edges: BipartiteEdges, rows: Tensor, backend: Backend = "auto") -> Tensor:
    """Return the mean of the sources' rows [n, D] over each destination's edges: [m, D], zero where there is none."""
    mean: Tensor = _module(backend, rows.device).mean_of_sources(edges, rows)
    return mean


def _module(backend: Backend, device: torch.device) -> ModuleType:
    if backend == "auto":
        backend = "compiled" if device.type == "cpu" else "torch"
    return {"compiled": with_numba, "torch": with_torch, "dgl": with_dgl}[backend]
