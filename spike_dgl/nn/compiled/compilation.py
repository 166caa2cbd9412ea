"""Compilation of loops, and distribution of their rows over threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar, cast

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ITEMS_PER_THREAD = 1 << 18
"""Minimum number of numbers to read per thread; below it, another thread is not worth its overhead."""

FREEDOM = ("reassoc", "contract", "arcp", "nsz")
"""LLVM fast-math flags: sums may be reordered (to vectorise) and fused with products; infinities and NaN stay exact."""

Array = NDArray[Any]
Loop = TypeVar("Loop", bound=Callable[..., None])
Rows = tuple[int, int]
"""First row and the one after the last."""


def compiled(loop: Loop) -> Loop:
    """Compile a loop over rows with numba; the machine code is cached on disk."""
    return cast("Loop", numba.njit(nogil=True, cache=True, fastmath={*FREEDOM}, error_model="numpy")(loop))


def arrays(*tensors: Tensor) -> list[Array]:
    """Return CPU tensors as numpy arrays: views, or copies of tensors that are not contiguous."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def equal_parts(rows: int, width: int) -> list[Rows]:
    """Split rows of `width` numbers evenly among threads."""
    return _between(np.linspace(0, rows, _threads(rows * width) + 1, dtype=np.int64).tolist())


def balanced_parts(start: Array, width: int) -> list[Rows]:
    """Split rows among threads with about the same number of edges each.

    `start` [n + 1] is the row pointer, and an edge reads `width` numbers.
    """
    rows, edges = len(start) - 1, int(start[-1])
    inner = np.linspace(0, edges, _threads(edges * width) + 1)[1:-1]
    return _between([0, *np.searchsorted(start, inner).tolist(), rows])


def run(
    loop: Callable[..., None], parts: Sequence[Rows], *shared: Any, own: Sequence[Any] | None = None
) -> None:
    """Call ``loop(first, last, *shared)`` for each part in its own thread, the first one in the calling thread.

    `own` has one more argument per part.
    """
    calls = [
        (*rows, *shared) if own is None else (*rows, *shared, own[part]) for part, rows in enumerate(parts)
    ]
    others = [_pool().submit(loop, *call) for call in calls[1:]]
    loop(*calls[0])
    for other in others:
        other.result()


def _threads(items: int) -> int:
    return max(1, min(torch.get_num_threads(), items // ITEMS_PER_THREAD))


def _between(bounds: list[int]) -> list[Rows]:
    return list(pairwise(bounds))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="compiled")
