"""Text neighbours: the items with the most similar text vectors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

ITEMS_PER_BLOCK = 1024
"""Number of items whose similarities to all others are in memory at a time."""


def text_neighbours(
    texts: Tensor, num_neighbours: int, of_texts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Find each item's nearest neighbours by cosine similarity of text vectors.

    The I x I cosines are computed `ITEMS_PER_BLOCK` rows at a time.

    Parameters
    ----------
    texts
        Text vectors [I, d_t]; an item without a text has a zero vector and is no item's neighbour.
    num_neighbours
        Maximum number k of neighbours; only those with a cosine above zero count.
    of_texts
        Text vectors [n, d_t] of other items whose neighbours among the I to find. Default: the I themselves.

    Returns
    -------
    items, neighbours : Tensor
        Rows of both, at most I k (or n k) pairs; `items` is ascending, and no item is its own neighbour.
    """
    unit = functional.normalize(texts)
    queries = unit if of_texts is None else functional.normalize(of_texts)
    number = max(0, min(num_neighbours, len(unit) - (of_texts is None)))
    blocks = torch.split(torch.arange(len(queries), device=queries.device), ITEMS_PER_BLOCK)
    found = [_nearest(queries, unit, rows, number, others_only=of_texts is None) for rows in blocks]
    items, neighbours = (torch.cat(ends) for ends in zip(*found, strict=True))
    return items, neighbours


def _nearest(
    queries: Tensor, unit: Tensor, rows: Tensor, number: int, *, others_only: bool
) -> tuple[Tensor, Tensor]:
    """Return items and neighbours for some rows of `queries`."""
    cosines = queries[rows] @ unit.T
    if others_only:
        cosines[torch.arange(len(rows)), rows] = -torch.inf
    best = cosines.topk(number)
    near = best.values > 0.0
    return rows.unsqueeze(1).expand_as(near)[near], best.indices[near]
