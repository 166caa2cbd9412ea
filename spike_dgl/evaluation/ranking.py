"""Ranking of all items for many users, in chunks to limit memory."""

from __future__ import annotations

import torch
from torch import Tensor

from spike_dgl.data.dataset import Interactions
from spike_dgl.errors import NotFiniteError
from spike_dgl.models.base import ScoreFunction

NO_ITEM = -1
"""Fills the end of a top-k list when the user has fewer than k unseen items."""


@torch.no_grad()
def rank(
    score: ScoreFunction,
    users: Tensor,
    seen: Interactions,
    *,
    num_items: int,
    k: int,
    chunk_size: int = 256,
) -> Tensor:
    """Return the k highest-scored items of each user, best first, without items they have seen.

    Ties are broken by item row, the lower row first, on every device.

    Parameters
    ----------
    score
        Function that returns the scores of all items [b, I] for a batch of users [b].
    users
        Rows of the users [n], in any order; repeated users are allowed.
    seen
        User-item pairs to exclude; for the test split the training and the validation pairs.
    num_items
        I.
    k
        Length of the lists.
    chunk_size
        Number of users scored at a time; the peak memory is a few arrays of ``chunk_size`` x I.

    Returns
    -------
    Tensor
        Items [n, k], int64 on the CPU; `NO_ITEM` at the end of a list that has fewer than k items.

    Raises
    ------
    ValueError
        If `score` returns another shape than [b, I].
    NotFiniteError
        If scores are infinite or not a number.
    """
    users = users.cpu()
    mask = _SeenMask(seen, int(users.max()) + 1 if len(users) else 0)
    ranked = torch.full((len(users), k), NO_ITEM, dtype=torch.int64)
    for start in range(0, len(users), chunk_size):
        chunk = users[start : start + chunk_size]
        scores = score(chunk)
        if scores.shape != (len(chunk), num_items):
            raise ValueError(f"expected scores {(len(chunk), num_items)}, got {tuple(scores.shape)}")
        best = _top_items(mask.apply(scores, chunk), min(k, num_items))
        ranked[start : start + chunk_size, : best.shape[1]] = best.cpu()
    return ranked


class _SeenMask:
    """Seen items of each user, as compressed sparse rows (CSR)."""

    def __init__(self, seen: Interactions, num_users: int) -> None:
        self._offsets = torch.from_numpy(seen.offsets(num_users))
        self._items = torch.from_numpy(seen.items)

    def apply(self, scores: Tensor, users: Tensor) -> Tensor:
        """Return a copy of the scores [b, I] with minus infinity for items that the users [b] have seen."""
        starts, lengths = self._offsets[users], self._offsets[users + 1] - self._offsets[users]
        rows = torch.repeat_interleave(torch.arange(len(users)), lengths)
        first_of_row = torch.cumsum(lengths, dim=0) - lengths
        positions = torch.arange(len(rows)) + (starts - first_of_row)[rows]
        where = rows.to(scores.device), self._items[positions].to(scores.device)
        return scores.index_put(where, scores.new_tensor(float("-inf")))


def _top_items(scores: Tensor, k: int) -> Tensor:
    """Return the k best items of each row [b, k], ties in the order of items; `NO_ITEM` for minus infinity."""
    # One more than k, to detect a tie between the last item in the list and the first one outside it.
    values, items = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    if not (values < float("inf")).all():
        raise NotFiniteError(
            "some scores are infinite or not a number\n"
            "  Train with a smaller training.learning_rate, or check the profile vectors for broken values."
        )
    if values.shape[1] > k:
        tied = values[:, k - 1] == values[:, k]
        values, items = values[:, :k], items[:, :k]
        if tied.any():
            items[tied] = _lowest_items_of_ties(scores[tied], values[tied, -1:], k)
    items = items.sort(dim=1).values
    values, order = scores.gather(1, items).sort(dim=1, descending=True, stable=True)
    return items.gather(1, order).masked_fill(values == float("-inf"), NO_ITEM)


def _lowest_items_of_ties(scores: Tensor, last: Tensor, k: int) -> Tensor:
    """Return the k best items of each row, in ascending order of items, given the k-th best score `last` [b, 1]."""
    above, level = scores > last, scores == last
    room = k - above.sum(dim=1, keepdim=True)
    chosen = above | (level & (level.cumsum(dim=1, dtype=torch.int32) <= room))
    return chosen.nonzero()[:, 1].view(-1, k)
