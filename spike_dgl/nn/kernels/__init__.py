"""Attention and means along edges, in four backends with the same results and gradients.

``compiled`` runs on the CPU and allocates little memory, ``triton`` does so on a GPU, ``torch`` runs on any device,
``dgl`` is DGL's message passing. ``auto`` is compiled on the CPU, and on a GPU triton, or torch if Triton is not
installed.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from spike_dgl.dgl_import import require_dgl_on
from spike_dgl.errors import ConfigError
from spike_dgl.nn.dispatch import is_compiled
from spike_dgl.nn.graphs.bipartite import BipartiteEdges
from spike_dgl.nn.graphs.messages import MessageGraph
from spike_dgl.nn.kernels import with_dgl, with_numba, with_torch
from spike_dgl.nn.precision import in_full_precision

Backend = Literal["auto", "compiled", "triton", "torch", "dgl"]

LARGEST_DIM = 256
"""Largest dimension of a row that the Triton kernels keep in registers; for more, auto is torch."""


def require_backend_on(device: torch.device, backend: Backend) -> None:
    """Raise `ConfigError` if `backend` does not run on `device`."""
    if backend == "triton":
        _require_triton_on(device)
    if device.type == "cpu":
        return
    if backend == "compiled":
        raise ConfigError(
            f"model.backend is 'compiled', which runs on the CPU only, but the device is {device.type}\n"
            "  Set model.backend=auto, or training.device=cpu."
        )
    if backend == "dgl":
        require_dgl_on(device, "model.backend=auto")


def _require_triton_on(device: torch.device) -> None:
    if device.type != "cuda":
        raise ConfigError(
            f"model.backend is 'triton', which runs on a GPU only, but the device is {device.type}\n"
            "  Set model.backend=auto, or training.device=cuda."
        )
    if not has_triton():
        raise ConfigError(
            "model.backend is 'triton', which is not installed\n"
            "  Run: pip install triton, or set model.backend=auto."
        )


def has_triton() -> bool:
    """Return whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


@in_full_precision
def attend(
    messages: MessageGraph,
    projected: Tensor,
    states: Tensor,
    relations: Tensor,
    num_heads: int,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """Sum the messages to each entity, weighted by a softmax over all its in-edges.

    The message of a pair (src node t, relation r) has the key ``projected[t] * relations[r]`` and the value
    ``states[t] * relations[r]``. The query of an entity is its row of `projected`.

    Parameters
    ----------
    messages
        Pairs [P] and edges [E].
    projected, states
        Projected states and states, [U + N, D] each, users first.
    relations
        Relation embeddings, one row per relation and D columns.
    num_heads
        H, a divisor of D.
    backend
        Implementation to use.

    Returns
    -------
    gathered : Tensor
        Weighted sums [N, D]; zero for an entity without in-edges.
    attention : Tensor
        Weights [E, H], without gradient; those of an entity's in-edges sum to one.
    """
    module = _module(backend, states)
    gathered, attention = module.attend(messages, projected, states, relations, num_heads)
    return gathered, attention


@in_full_precision
def mean_of_sources(edges: BipartiteEdges, rows: Tensor, backend: Backend = "auto") -> Tensor:
    """Return the mean [m, D] of the src rows [n, D] over each dst node's edges; zero for a node without edges."""
    mean: Tensor = _module(backend, rows).mean_of_sources(edges, rows)
    return mean


def _module(backend: Backend, rows: Tensor) -> ModuleType:
    if backend == "auto":
        backend = _best_backend(rows)
    if backend == "triton":
        return importlib.import_module(f"{__name__}.with_triton")  # only where it is needed and installed
    return {"compiled": with_numba, "torch": with_torch, "dgl": with_dgl}[backend]


def _best_backend(rows: Tensor) -> Backend:
    if is_compiled(rows.device):
        return "compiled"
    fits = rows.device.type == "cuda" and rows.shape[1] <= LARGEST_DIM
    return "triton" if fits and has_triton() else "torch"
