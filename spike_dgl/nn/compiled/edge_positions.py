"""Functions of `spike_dgl.nn.graphs.positions`, compiled for the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from spike_dgl.nn.compiled.compilation import Array, arrays, compiled


def ascending(positions: Tensor, size: int) -> Tensor:
    """Compute `spike_dgl.nn.graphs.positions.ascending`."""
    is_there = torch.zeros(size, dtype=torch.bool)
    # One element more: the loop writes every position, and advances only after those it keeps (no branch).
    ordered = positions.new_empty(len(positions) + 1)
    _ascending(*arrays(positions, is_there, ordered))
    return ordered[:-1]


def thin_out(order: Tensor, kept: Tensor) -> Tensor:
    """Compute `spike_dgl.nn.graphs.positions.thin_out`."""
    new_number = torch.full_like(order, -1)
    thin = order.new_empty(len(kept) + 1)
    _thin_out(*arrays(order, kept, new_number, thin))
    return thin[:-1]


def row_pointer(rows: Tensor, num_rows: int) -> Tensor:
    """Compute `spike_dgl.nn.graphs.positions.row_pointer`."""
    start = rows.new_zeros(num_rows + 1)
    _row_pointer(*arrays(rows, start))
    return start


@compiled
def _ascending(positions: Array, is_there: Array, ordered: Array) -> None:
    for i in range(len(positions)):
        is_there[positions[i]] = True
    count = 0
    for position in range(len(is_there)):
        ordered[count] = position
        count += is_there[position]


@compiled
def _thin_out(order: Array, kept: Array, new_number: Array, thin: Array) -> None:
    for i in range(len(kept)):
        new_number[kept[i]] = i
    count = 0
    for i in range(len(order)):
        number = new_number[order[i]]
        thin[count] = number
        count += number >= 0


@compiled
def _row_pointer(rows: Array, start: Array) -> None:
    for i in range(len(rows)):
        start[rows[i] + 1] += 1
    for row in range(1, len(start)):
        start[row] += start[row - 1]
