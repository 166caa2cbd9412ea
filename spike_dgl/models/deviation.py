"""Spread of the scores of embeddings, by which terms of the score are scaled."""

from __future__ import annotations

from torch import Tensor


def score_deviation(users: Tensor, items: Tensor) -> float:
    """Return the standard deviation of the inner products of all pairs, from second moments."""
    users, items = users.double(), items.double()
    mean = users.mean(dim=0) @ items.mean(dim=0)
    square = ((users.T @ users / len(users)) * (items.T @ items / len(items))).sum()
    return float((square - mean**2).clamp(min=0.0).sqrt())
