"""Text neighbours: for each item those with the most similar text vectors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

ITEMS_PER_BLOCK = 1024
"""Items whose similarities to all others are in memory at a time."""


def text_neighbours(
    texts: Tensor, num_neighbours: int, of_texts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The items whose text vectors are most similar, by cosine, to each item's own.

    Parameters
    ----------
    texts
        [I, d_t]; a zero vector, of an item without a text, is nobody's neighbour.
    num_neighbours
        k at most: only cosines above zero count.
    of_texts
        [n, d_t] whose neighbours among the I to find, where these are not the I themselves.

    Returns
    -------
    items, neighbours : Tensor
        [at most I k], or [at most n k], rows; `items` ascends, and no item is its own neighbour. The I x I cosines
        are never there as a whole, but `ITEMS_PER_BLOCK` rows at a time.
    """
    unit = functional.normalize(texts)
    asked = unit if of_texts is None else functional.normalize(of_texts)
    number = max(0, min(num_neighbours, len(unit) - (of_texts is None)))
    blocks = torch.split(torch.arange(len(asked), device=asked.device), ITEMS_PER_BLOCK)
    found = [_nearest(asked, unit, rows, number, others_only=of_texts is None) for rows in blocks]
    items, neighbours = (torch.cat(ends) for ends in zip(*found, strict=True))
    return items, neighbours


def _nearest(
    asked: Tensor, unit: Tensor, rows: Tensor, number: int, *, others_only: bool
) -> tuple[Tensor, Tensor]:
    """Items and neighbours [n] of some rows."""
    cosines = asked[rows] @ unit.T
    if others_only:
        cosines[torch.arange(len(rows)), rows] = -torch.inf
    best = cosines.topk(number)
    near = best.values > 0.0
    return rows.unsqueeze(1).expand_as(near)[near], best.indices[near]
