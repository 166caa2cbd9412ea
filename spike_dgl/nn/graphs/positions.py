"""Positions among the edges of a graph, on any device; on the CPU in compiled passes."""

from __future__ import annotations

import torch
from torch import Tensor

from spike_dgl.nn.compiled import edge_positions as compiled


def ascending(positions: Tensor, size: int) -> Tensor:
    """[n] different positions, 0 to `size` - 1 and in any order, brought into their order."""
    if positions.device.type == "cpu":
        return compiled.ascending(positions, size)
    return ascending_anywhere(positions, size)


def thin_out(order: Tensor, kept: Tensor) -> Tensor:
    """What is left of an order of all members if only some are kept and these are numbered anew.

    Parameters
    ----------
    order
        [n] every number from 0 to n - 1 once.
    kept
        [m] numbers of the members that are kept; number i becomes its position here.

    Returns
    -------
    Tensor
        [m] every number from 0 to m - 1 once.
    """
    return compiled.thin_out(order, kept) if order.device.type == "cpu" else thin_out_anywhere(order, kept)


def row_pointer(rows: Tensor, num_rows: int) -> Tensor:
    """[num_rows + 1] where the members of each row begin if `rows` [n], in any order, are sorted."""
    if rows.device.type == "cpu":
        return compiled.row_pointer(rows, num_rows)
    return row_pointer_anywhere(rows, num_rows)


def ascending_anywhere(positions: Tensor, size: int) -> Tensor:
    """As `ascending`, in torch."""
    is_there = torch.zeros(size, dtype=torch.bool, device=positions.device)
    is_there[positions] = True
    return true_positions(is_there, len(positions))


def thin_out_anywhere(order: Tensor, kept: Tensor) -> Tensor:
    """As `thin_out`, in torch."""
    new_number = torch.full_like(order, -1)
    new_number[kept] = torch.arange(len(kept), device=kept.device)
    numbers = new_number.index_select(0, order)
    return numbers.index_select(0, true_positions(numbers >= 0, len(kept)))


def row_pointer_anywhere(rows: Tensor, num_rows: int) -> Tensor:
    """As `row_pointer`, in torch."""
    # As fast as torch.bincount, which on a GPU makes the host wait for the largest row.
    count = rows.new_zeros(num_rows).scatter_add_(0, rows, rows.new_ones(1).expand_as(rows))
    start = rows.new_zeros(num_rows + 1)
    torch.cumsum(count, 0, out=start[1:])
    return start


def true_positions(mask: Tensor, count: int) -> Tensor:
    """[count] ascending positions at which a mask [n] with so many true values is true.

    Twice as fast as `Tensor.nonzero`, and on a GPU the host need not wait for a count that it knows.
    """
    place = torch.where(mask, mask.cumsum(0) - 1, count)
    positions = torch.arange(len(mask), device=mask.device)
    return place.new_empty(count + 1).scatter_(0, place, positions)[:count]
