"""Training batches: interactions, each with one sampled negative item."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from spike_dgl.data.dataset import Interactions
from spike_dgl.errors import MissingTimesError, SpikeError
from spike_dgl.models.base import CPU, Batch

REDRAWS = 8
"""Number of times that a popularity-sampled negative which is a positive is redrawn, before it is drawn uniformly."""


def check_trainable(train: Interactions, num_items: int) -> None:
    """Raise `SpikeError` if no user has both a positive and a negative item."""
    degree = np.unique(train.users, return_counts=True)[1]
    if not (degree < num_items).any():
        raise SpikeError(
            "there is nothing to train on: no user has both a positive and a negative item\n"
            "  Check the training interactions, and how many data.cold_items, hidden_users and hidden_items leave."
        )


class BprSampler:
    """Shuffled batches of training interactions with negatives that are not training positives of their user.

    The batches of an epoch depend only on the seed and the epoch number, so a resumed run draws the same ones.
    Users who interacted with every item have no negative; their interactions are left out (`num_left_out`).

    Parameters
    ----------
    train
        Training interactions [X].
    num_users, num_items
        U and I.
    batch_size
        B; the last batch of an epoch is smaller.
    seed
        Random seed of shuffling and negative sampling.
    popularity_exponent
        Negatives are drawn with probability proportional to an item's number of training users to this power.
    seen_negatives
        Whether to draw negatives from items with training users only.
    recency
        0 draws every interaction once per epoch. Above 0, each user's n interactions are drawn n times with
        replacement, with probability proportional to their position in the history (1 is the first) to this power.
    device
        Device to draw the batches on; each type of device draws others.
    """

    def __init__(
        self,
        train: Interactions,
        num_users: int,
        num_items: int,
        *,
        batch_size: int,
        seed: int,
        popularity_exponent: float = 0.0,
        seen_negatives: bool = False,
        recency: float = 0.0,
        device: torch.device = CPU,
    ) -> None:
        check_trainable(train, num_items)
        self.batch_size, self.seed, self.device = batch_size, seed, device
        users, items = (torch.from_numpy(rows).to(device) for rows in (train.users, train.items))
        # From here on, items are numbered by their position among the candidates of negative sampling.
        self._drawable: Tensor | None = None
        if seen_negatives:
            self._drawable, items = torch.unique(items, return_inverse=True)
            num_items = len(self._drawable)
        self.num_items = num_items
        self._offsets = torch.from_numpy(train.offsets(num_users)).to(device)
        self._degree = self._offsets.diff()
        # The r-th non-positive of a user is r + (the number of positives p_j with p_j - j <= r), j = 0, 1, ...
        # since p_j - j counts the non-positives before p_j. One sorted key per positive does this for all users.
        before = items - (torch.arange(len(items), device=device) - self._offsets[users])
        self._keys = users * (num_items + 1) + before
        self._pairs = users * num_items + items
        self._drawing_bounds = (
            None if popularity_exponent == 0 else _bounds(items, num_items, popularity_exponent)
        )
        has_negative = self._degree[users] < num_items
        self._users, self._items = users[has_negative], torch.from_numpy(train.items).to(device)[has_negative]
        trained = train.select(has_negative.cpu().numpy())
        self._recency = _RecencySampling(trained, recency, device) if recency else None
        self.num_left_out = int((~has_negative).sum())

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return -(-len(self._users) // self.batch_size)

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, without the first `skip`."""
        generator = _generator(self.device, (self.seed * 1_000_003 + number) % 2**63)
        order = torch.randperm(len(self._users), generator=generator, device=self.device)
        if self._recency is not None:
            order = self._recency(generator)[order]
        users, items = self._users[order], self._items[order]
        negatives = self.negatives(users, generator)
        epoch = Batch(users, items, negatives)
        for start in range(skip * self.batch_size, len(users), self.batch_size):
            part = slice(start, start + self.batch_size)
            yield epoch.select(part)

    def negatives(self, users: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one negative item for each of `users` [n], on their device."""
        places = self._places_of_negatives(users, generator)
        return places if self._drawable is None else self._drawable[places]

    def _places_of_negatives(self, users: Tensor, generator: torch.Generator) -> Tensor:
        if self._drawing_bounds is None:
            return self._uniform(users, generator)
        drawn = _draw(self._drawing_bounds, users, generator)
        hit = self._are_positives(users, drawn).nonzero(as_tuple=True)[0]
        for _ in range(REDRAWS):
            drawn[hit] = _draw(self._drawing_bounds, hit, generator)
            hit = hit[self._are_positives(users[hit], drawn[hit])]
        drawn[hit] = self._uniform(users[hit], generator)
        return drawn

    def _uniform(self, users: Tensor, generator: torch.Generator) -> Tensor:
        free = self.num_items - self._degree[users]
        rank = (_uniform_numbers(users, generator) * free).long()
        rank = torch.minimum(rank, free - 1)
        below = torch.searchsorted(self._keys, users * (self.num_items + 1) + rank, right=True)
        return rank + below - self._offsets[users]

    def _are_positives(self, users: Tensor, items: Tensor) -> Tensor:
        """Return True [n] for the pairs that are training interactions."""
        pairs = users * self.num_items + items
        place = torch.searchsorted(self._pairs, pairs).clamp(max=len(self._pairs) - 1)
        return self._pairs[place] == pairs


class _RecencySampling:
    """Recency-weighted sampling of n of each user's n interactions, with replacement."""

    def __init__(self, pairs: Interactions, recency: float, device: torch.device) -> None:
        by_time = pairs.by_time()
        if by_time is None:
            raise MissingTimesError("training.recency", f"{recency:g}", 0)
        users = torch.from_numpy(pairs.users).to(device)
        self._power = 1.0 / (1.0 + recency)
        self._by_time, self._count = torch.from_numpy(by_time).to(device), users.bincount()[users]
        self._first = torch.searchsorted(users, users)

    def __call__(self, generator: torch.Generator) -> Tensor:
        """Draw positions [X] among the pairs, in the order of users."""
        # Stratified inverse transform sampling: the inverse of the distribution function x^(1 + recency), at one
        # random point in each of n equal intervals.
        points = _uniform_numbers(self._count, generator)
        points += torch.arange(len(self._count), device=points.device) - self._first
        place = ((points / self._count).pow(self._power) * self._count).long()
        return self._by_time[self._first + torch.minimum(place, self._count - 1)]


def _bounds(items: Tensor, num_items: int, exponent: float) -> Tensor:
    """Return the cumulative probabilities [I] of the items; an item without users counts as if it had one."""
    weights = torch.bincount(items, minlength=num_items).clamp(min=1).double().pow(exponent)
    return weights.cumsum(0) / weights.sum()


def _draw(bounds: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    places = _uniform_numbers(rows, generator)
    return torch.searchsorted(bounds, places, right=True).clamp(max=len(bounds) - 1)


def _uniform_numbers(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a number between 0 and 1 for each of `rows` [n], on their device."""
    return torch.rand(len(rows), generator=generator, dtype=torch.float64, device=rows.device)


def _generator(device: torch.device, seed: int) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)
