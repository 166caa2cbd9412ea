"""Ranking of all items for many users, in chunks to limit memory.

Scores, seen items and lists stay on the device of the scores, which is waited for once, at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spike_dgl.data.dataset import Interactions
from spike_dgl.errors import NotFiniteError
from spike_dgl.models.base import ScoreFunction
from spike_dgl.nn.dispatch import is_compiled

NO_ITEM = -1
"""Fills the end of a top-k list when the user has fewer than k unseen items."""
BITS_OF_MINUS_INFINITY = -0x7F800001
"""Minus infinity as an integer of `_top_items_by_key`."""


class Ranked(NamedTuple):
    """Top-k lists of n users.

    Parameters
    ----------
    items
        Items [n, k], int64 on the CPU, best first; `NO_ITEM` at the end of a list that has fewer than k items.
    scores
        Their scores [n, k] on the CPU; minus infinity where there is no item.
    """

    items: Tensor
    scores: Tensor


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
    num_users = int(users.max()) + 1 if len(users) else 0
    return Ranker(score, seen, num_users, num_items, chunk_size).rank(users, k).items


class Ranker:
    """Ranking of all items for any users, as in `rank`, for several calls: seen items are on the device once.

    Parameters
    ----------
    score, seen, num_items, chunk_size
        See `rank`.
    num_users
        U; more than the highest row that is ranked.
    """

    def __init__(
        self, score: ScoreFunction, seen: Interactions, num_users: int, num_items: int, chunk_size: int = 256
    ) -> None:
        self._score, self._num_items, self._chunk_size = score, num_items, chunk_size
        self._seen = _SeenMask(seen, num_users)

    @torch.no_grad()
    def scores(self, users: Tensor) -> Tensor:
        """Return the scores [n, I] of all items for users [n]. Raises `ValueError` if they have another shape."""
        scores = self._score(users)
        if scores.shape != (len(users), self._num_items):
            raise ValueError(f"expected scores {(len(users), self._num_items)}, got {tuple(scores.shape)}")
        return scores

    @torch.no_grad()
    def rank(
        self, users: Tensor, k: int, *, exclude_seen: bool = True, allowed: Tensor | None = None
    ) -> Ranked:
        """Return the lists of users; see `rank`.

        Parameters
        ----------
        users, k
            See `rank`.
        exclude_seen
            Whether to exclude seen items.
        allowed
            True [I], on the CPU, for the items to rank. Default: all.
        """
        users, length = users.cpu(), min(k, self._num_items)
        lists, are_numbers = [], []
        for chunk in torch.split(users, self._chunk_size) if len(users) else ():
            scores = self.scores(chunk)
            listed = self._seen.apply(scores, chunk) if exclude_seen else scores
            if allowed is not None:
                listed = listed.masked_fill(~allowed.to(scores.device), float("-inf"))
            if is_compiled(scores.device) or scores.dtype == torch.float64:
                items = _top_items(listed, length)
            else:
                are_numbers.append((scores < float("inf")).all())
                items = _top_items_by_key(listed, length)
            lists.append(Ranked(items, _scores_of(items, listed)))
        if are_numbers:
            _require_numbers(torch.stack(are_numbers))
        return _on_host(lists, len(users), k)


def _scores_of(items: Tensor, scores: Tensor) -> Tensor:
    return scores.gather(1, items.clamp(min=0)).masked_fill(items == NO_ITEM, float("-inf"))


def _on_host(lists: Sequence[Ranked], num_users: int, k: int) -> Ranked:
    """Concatenate the lists of chunks on the CPU, and fill them up to length k."""
    items = torch.full((num_users, k), NO_ITEM, dtype=torch.int64)
    scores = torch.full((num_users, k), float("-inf"), dtype=lists[0].scores.dtype if lists else None)
    if lists:
        length = lists[0].items.shape[1]
        items[:, :length] = torch.cat([chunk.items for chunk in lists]).cpu()
        scores[:, :length] = torch.cat([chunk.scores for chunk in lists]).cpu()
    return Ranked(items, scores)


def _require_numbers(are_numbers: Tensor) -> None:
    if not are_numbers.all():
        raise NotFiniteError(
            "some scores are infinite or not a number\n"
            "  Train with a smaller training.learning_rate, or check the profile vectors for broken values."
        )


class _SeenMask:
    """Seen items of each user, as compressed sparse rows (CSR)."""

    def __init__(self, seen: Interactions, num_users: int) -> None:
        self._offsets = torch.from_numpy(seen.offsets(num_users))
        self._on_device = self._offsets, torch.from_numpy(seen.items)

    def apply(self, scores: Tensor, users: Tensor) -> Tensor:
        """Return a copy of the scores [b, I] with minus infinity for items that the users [b] have seen."""
        device = scores.device
        offsets, items = (rows.to(device) for rows in self._on_device)
        self._on_device = offsets, items
        number = int(
            (self._offsets[users + 1] - self._offsets[users]).sum()
        )  # on the CPU, which waits for nothing
        users = users.to(device)
        starts, lengths = offsets[users], offsets[users + 1] - offsets[users]
        each = torch.arange(len(users), device=device)
        rows = torch.repeat_interleave(each, lengths, output_size=number)
        first_of_row = torch.cumsum(lengths, dim=0) - lengths
        positions = torch.arange(number, device=device) + (starts - first_of_row)[rows]
        lowest = torch.full((), float("-inf"), dtype=scores.dtype, device=device)
        return scores.index_put((rows, items[positions]), lowest)


def _top_items_by_key(scores: Tensor, k: int) -> Tensor:
    """Compute `_top_items` without looking for ties, which would wait for a GPU.

    The bits of a float32, with those of negative numbers inverted, are an integer in the same order. Followed by the
    item, lower ones first, all integers of a row differ.
    """
    bits = (scores.float() + 0.0).view(torch.int32)  # + 0.0: minus zero is zero
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    last = (1 << 32) - 1
    items = torch.arange(scores.shape[1], device=scores.device)
    keys = ((bits.long() << 32) + (last - items)).topk(k, dim=1).values
    return (last - (keys & last)).masked_fill((keys >> 32) == BITS_OF_MINUS_INFINITY, NO_ITEM)


def _top_items(scores: Tensor, k: int) -> Tensor:
    """Return the k best items of each row [b, k], ties in the order of items; `NO_ITEM` for minus infinity."""
    # One more than k, to detect a tie between the last item in the list and the first one outside it.
    values, items = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    _require_numbers(values < float("inf"))
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
