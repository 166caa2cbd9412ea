"""Compiled index arithmetic agrees with torch and with the definitions."""

from __future__ import annotations

import pytest
import torch

from spike_dgl.nn.compiled import edge_positions as compiled
from spike_dgl.nn.graphs import positions


def drawn(size: int, count: int, seed: int) -> torch.Tensor:
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:count]


SIZES = [(0, 0), (1, 0), (1, 1), (9, 4), (200, 200), (1000, 300)]


@pytest.mark.parametrize("ascending", [compiled.ascending, positions.ascending_anywhere])
@pytest.mark.parametrize(("size", "count"), SIZES)
def test_ascending_positions_are_sorted(ascending, size: int, count: int) -> None:
    some = drawn(size, count, seed=0)
    assert torch.equal(ascending(some, size), some.sort().values)


@pytest.mark.parametrize("thin_out", [compiled.thin_out, positions.thin_out_anywhere])
@pytest.mark.parametrize(("size", "count"), SIZES)
def test_an_order_that_is_thinned_out_is_that_of_the_members_left(thin_out, size: int, count: int) -> None:
    order, kept = drawn(size, size, seed=1), drawn(size, count, seed=2).sort().values
    number = {member: i for i, member in enumerate(kept.tolist())}
    expected = [number[member] for member in order.tolist() if member in number]
    assert thin_out(order, kept).tolist() == expected


@pytest.mark.parametrize("row_pointer", [compiled.row_pointer, positions.row_pointer_anywhere])
@pytest.mark.parametrize("members", [0, 50])
def test_rows_begin_where_those_before_end(row_pointer, members: int) -> None:
    rows = torch.randint(7, (members,), generator=torch.Generator().manual_seed(0))
    start = row_pointer(rows, 9)
    assert start.tolist() == [(rows < row).sum() for row in range(10)]
    assert start.dtype == rows.dtype
