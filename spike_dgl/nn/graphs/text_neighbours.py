"""Text neighbours: the items with the most similar text vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ITEMS_PER_BLOCK = 1024
"""Number of items whose similarities to all others are in memory at a time."""


def text_neighbours(
    texts: Tensor | csr_matrix, num_neighbours: int, of_texts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Find each item's nearest neighbours by cosine similarity of text vectors.

    The I x I cosines are computed `ITEMS_PER_BLOCK` rows at a time.

    Parameters
    ----------
    texts
        Text vectors [I, d_t], or sparse ones of unit length [I, V]; an item without a text has a zero vector and is no
        item's neighbour.
    num_neighbours
        Maximum number k of neighbours; only those with a cosine above zero count.
    of_texts
        Text vectors [n, d_t] of other items whose neighbours among the I to find. Default: the I themselves.

    Returns
    -------
    items, neighbours : Tensor
        Rows of both, at most I k (or n k) pairs; `items` is ascending, and no item is its own neighbour.
    """
    others_only = of_texts is None
    number = max(0, min(num_neighbours, texts.shape[0] - others_only))
    if not isinstance(texts, Tensor):
        rows_at_once = torch.split(torch.arange(texts.shape[0]), ITEMS_PER_BLOCK)
        cosines = (torch.from_numpy((texts[rows.numpy()] @ texts.T).toarray()) for rows in rows_at_once)
    else:
        unit = functional.normalize(texts)
        queries = unit if of_texts is None else functional.normalize(of_texts)
        rows_at_once = torch.split(torch.arange(len(queries), device=queries.device), ITEMS_PER_BLOCK)
        cosines = (queries[rows] @ unit.T for rows in rows_at_once)
    found = [
        _nearest(block, rows, number, others_only=others_only)
        for block, rows in zip(cosines, rows_at_once, strict=True)
    ]
    items, neighbours = (torch.cat(ends) for ends in zip(*found, strict=True))
    return items, neighbours


def _nearest(cosines: Tensor, rows: Tensor, number: int, *, others_only: bool) -> tuple[Tensor, Tensor]:
    """Return items and neighbours for some rows [b], from their cosines with all items [b, I]."""
    if others_only:
        cosines[torch.arange(len(rows)), rows] = -torch.inf
    best = cosines.topk(number)
    near = best.values > 0.0
    return rows.unsqueeze(1).expand_as(near)[near], best.indices[near]
