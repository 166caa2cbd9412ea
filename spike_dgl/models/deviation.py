"""Spread of the scores of embeddings, by which terms of the score are scaled."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ROWS_AT_ONCE = 1 << 16
"""Number of rows of which a copy in float64 is made at a time."""


class Moments(NamedTuple):
    """Number of rows, their sum [D], and the sum of their outer products [D, D], in float64.

    Those of several sets of rows add up.
    """

    number: Tensor
    total: Tensor
    square: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Moments:
        """Compute the moments of rows [n, D]."""
        dim = rows.shape[1]
        total = rows.new_zeros(dim, dtype=torch.float64)
        square = rows.new_zeros(dim, dim, dtype=torch.float64)
        for part in torch.split(rows, ROWS_AT_ONCE):
            exact = part.double()
            total = total + exact.sum(dim=0)
            square = square + exact.T @ exact
        return cls(total.new_tensor(len(rows)), total, square)


def score_deviation(users: Tensor, items: Tensor) -> float:
    """Return the standard deviation of the inner products of all pairs of rows, [U, D] and [I, D]."""
    return deviation_by_moments(Moments.of(users), Moments.of(items))


def deviation_by_moments(users: Moments, items: Moments) -> float:
    """Return the standard deviation of the inner products of all pairs, from the moments of both sides."""
    mean = (users.total / users.number) @ (items.total / items.number)
    square = ((users.square / users.number) * (items.square / items.number)).sum()
    return float((square - mean**2).clamp(min=0.0).sqrt())
