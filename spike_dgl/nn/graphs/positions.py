"""Index arithmetic on edges, on any device; compiled on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from spike_dgl.nn.compiled import edge_positions as compiled
from spike_dgl.nn.dispatch import is_compiled


def ascending(positions: Tensor, size: int) -> Tensor:
    """Sort n distinct positions in 0..size-1."""
    if is_compiled(positions.device):
        return compiled.ascending(positions, size)
    return ascending_anywhere(positions, size)


def thin_out(order: Tensor, kept: Tensor) -> Tensor:
    """Restrict a permutation to some of its members, and renumber them.

    Parameters
    ----------
    order
        A permutation of 0..n-1.
    kept
        Members [m] to keep; each is renumbered to its position in `kept`.

    Returns
    -------
    Tensor
        A permutation of 0..m-1.
    """
    return compiled.thin_out(order, kept) if is_compiled(order.device) else thin_out_anywhere(order, kept)


def row_pointer(rows: Tensor, num_rows: int) -> Tensor:
    """Return the row pointer [num_rows + 1]: first position of each row when `rows` [n] is sorted."""
    if is_compiled(rows.device):
        return compiled.row_pointer(rows, num_rows)
    return row_pointer_anywhere(rows, num_rows)


def ascending_anywhere(positions: Tensor, size: int) -> Tensor:
    """Compute `ascending` in torch."""
    is_there = torch.zeros(size, dtype=torch.bool, device=positions.device)
    is_there[positions] = True
    return true_positions(is_there, len(positions))


def thin_out_anywhere(order: Tensor, kept: Tensor) -> Tensor:
    """Compute `thin_out` in torch."""
    new_number = torch.full_like(order, -1)
    new_number[kept] = torch.arange(len(kept), device=kept.device)
    numbers = new_number.index_select(0, order)
    return numbers.index_select(0, true_positions(numbers >= 0, len(kept)))


def row_pointer_anywhere(rows: Tensor, num_rows: int) -> Tensor:
    """Compute `row_pointer` in torch."""
    # As fast as torch.bincount, which on a GPU synchronises to get the largest row.
    count = rows.new_zeros(num_rows).scatter_add_(0, rows, rows.new_ones(1).expand_as(rows))
    start = rows.new_zeros(num_rows + 1)
    torch.cumsum(count, 0, out=start[1:])
    return start


def true_positions(mask: Tensor, count: int) -> Tensor:
    """Return the ascending positions [count] where `mask` [n], with `count` true values, is true.

    Twice as fast as `Tensor.nonzero`, and without its synchronisation on a GPU, since the count is known.
    """
    place = torch.where(mask, mask.cumsum(0) - 1, count)
    positions = torch.arange(len(mask), device=mask.device)
    return place.new_empty(count + 1).scatter_(0, place, positions)[:count]
