"""How loops are compiled, and how the rows they compute are shared out among threads."""

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
"""Numbers to read below which it is not worth waking another thread."""

FREEDOM = ("reassoc", "contract", "arcp", "nsz")
"""Sums may be reordered, to be vectorised, and fused with products; infinities and NaN keep their meaning."""

Array = NDArray[Any]
Loop = TypeVar("Loop", bound=Callable[..., None])
Rows = tuple[int, int]
"""First row and the one after the last."""


def compiled(loop: Loop) -> Loop:
    """Compile a loop over rows with numba; the machine code is kept on disk."""
    return cast("Loop", numba.njit(nogil=True, cache=True, fastmath={*FREEDOM}, error_model="numpy")(loop))


def arrays(*tensors: Tensor) -> list[Array]:
    """Views of tensors on the CPU, or copies of those that are not contiguous."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def equal_parts(rows: int, width: int) -> list[Rows]:
    """A part of the rows for each thread, where each row has `width` numbers."""
    return _between(np.linspace(0, rows, _threads(rows * width) + 1, dtype=np.int64).tolist())


def balanced_parts(start: Array, width: int) -> list[Rows]:
    """A part of the rows for each thread, with about as many edges each.

    `start` [n + 1] is where the edges of each row begin, and an edge reads `width` numbers.
    """
    rows, edges = len(start) - 1, int(start[-1])
    inner = np.linspace(0, edges, _threads(edges * width) + 1)[1:-1]
    return _between([0, *np.searchsorted(start, inner).tolist(), rows])


def run(
    loop: Callable[..., None], parts: Sequence[Rows], *shared: Any, own: Sequence[Any] | None = None
) -> None:
    """Call ``loop(first, last, *shared)`` for each part, the first one in this thread.

    `own` has a further argument for each part.
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
