"""Sums, maxima and inner products along edges in torch, on any device.

No function uses atomic additions, so results do not depend on the order of threads. `embedding_bag` adds up rows
without storing them in between; inner products are computed in blocks of edges.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

EDGES_PER_BLOCK = 8192
"""Number of edges per block on the CPU: the rows of each end are 2 MB at D = 64, and fit in the cache."""
SHARE_PER_BLOCK = 16
"""On a GPU the rows of a block take up to one 16th of its memory, so most graphs are one block."""
BYTES_PER_BLOCK = 1 << 30
"""The same on a device whose memory is not known."""


def inner_products_of_edges(src: Tensor, dst: Tensor, src_rows: Tensor, dst_rows: Tensor) -> Tensor:
    """Return the inner products [E, H] of the src rows [n, H, d_k] and the dst rows [m, H, d_k] of every edge."""
    products = src_rows.new_empty(len(src), src_rows.shape[1])
    size = edges_per_block(src_rows)
    for first in range(0, len(src), size):
        block = slice(first, first + size)
        rows = src_rows.index_select(0, src[block])
        rows *= dst_rows.index_select(0, dst[block])
        torch.sum(rows, -1, out=products[block])
    return products


def edges_per_block(rows: Tensor) -> int:
    """Return the number of edges whose rows [n, H, d_k] are gathered at a time, from both ends."""
    if rows.device.type == "cpu":
        return EDGES_PER_BLOCK
    available = _memory(rows.device) // SHARE_PER_BLOCK if rows.device.type == "cuda" else BYTES_PER_BLOCK
    return max(EDGES_PER_BLOCK, available // (2 * rows.shape[1] * rows.shape[2] * rows.element_size()))


@cache
def _memory(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).total_memory)


def weighted_sums(start: Tensor, index: Tensor, weights: Tensor | None, rows: Tensor) -> Tensor:
    """Return out[i, h] = sum over e in start[i]:start[i + 1] of weights[h, e] * rows[index[e], h].

    One call for all heads: node i and head h are row i * H + h of the flattened rows.

    Parameters
    ----------
    start, index
        Row pointer [m + 1], and a row [E] for each edge.
    weights
        Weights [H, E]; None for ones.
    rows
        Rows [n, H, d_k].
    """
    heads = torch.arange(rows.shape[1], device=rows.device).unsqueeze(-1)
    summed = functional.embedding_bag(
        (index * rows.shape[1] + heads).flatten(),
        rows.flatten(0, 1),
        (start[:-1] + heads * len(index)).flatten(),
        mode="sum",
        per_sample_weights=None if weights is None else weights.flatten(),
    )
    return summed.view(rows.shape[1], len(start) - 1, rows.shape[2]).transpose(0, 1)


def reduced(start: Tensor, edge: Tensor, values: Tensor, how: Literal["sum", "max"]) -> Tensor:
    """Return the sums or maxima [m, C] of the values [E, C] at ``edge[start[i]:start[i + 1]]``; 0 without edges."""
    return functional.embedding_bag(edge, values, start[:-1], mode=how)
