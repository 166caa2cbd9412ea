"""Spans of edges for programs on a GPU: one for each row, and several for a row with many edges."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

EDGES_PER_SPAN = 1024
"""Maximum number of edges in a span; a row with more has several, so that one program does not delay the others."""
MOST_PARTS = 1 << 14
"""Number of parts above which spans are longer: one program combines all parts of a row, such as a relation's."""


class Spans(NamedTuple):
    """Spans of consecutive edges that cover all edges, each within one row.

    The first n spans are those of the n rows; a long row's is empty. The parts of long rows follow, then empty spans:
    the number of parts is not known without waiting for a GPU, so there are as many as there could be.

    Parameters
    ----------
    row
        Row [s] of each span.
    first, last
        First edge [s] of each span, and the one after its last.
    part
        Pointer [n + 1] to the spans of each row's parts; None if no row can be long.
    """

    row: Tensor
    first: Tensor
    last: Tensor
    part: Tensor | None

    @classmethod
    def from_rows(cls, start: Tensor, num_edges: int) -> Spans:
        """Create from a row pointer [n + 1]."""
        num_rows = len(start) - 1
        row = torch.arange(num_rows, device=start.device)
        begin, end = start[:-1], start[1:]
        size = max(EDGES_PER_SPAN, -(-2 * num_edges // MOST_PARTS))
        # A long row has p >= 2 parts and more than (p - 1) * size edges, so there are at most this many.
        num_parts = 2 * (num_edges // size)
        if not num_parts:
            return cls(row, begin, end, None)
        is_long = end - begin > size
        parts = ((end - begin + size - 1) // size).masked_fill(~is_long, 0)
        before = functional.pad(parts.cumsum(0), (1, 0))
        number = torch.arange(num_parts, device=start.device)
        of_part = torch.searchsorted(before[1:], number, right=True).clamp(max=num_rows - 1)
        first = begin[of_part] + (number - before[of_part]) * size
        last = torch.minimum(first + size, end[of_part])
        is_empty = number >= before[-1]
        return cls(
            torch.cat([row, of_part]),
            torch.cat([begin, first.masked_fill(is_empty, 0)]),
            torch.cat([torch.where(is_long, begin, end), last.masked_fill(is_empty, 0)]),
            before + num_rows,
        )

    @property
    def num_rows(self) -> int:
        """Number of rows, n."""
        return len(self.row) if self.part is None else len(self.part) - 1
