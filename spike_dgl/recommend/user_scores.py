"""Scores of all items for users of a run, and the lists by these scores: from embeddings, or from a fitted model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from spike_dgl.data.dataset import Interactions
from spike_dgl.typing import BoolArray, FloatArray, IndexArray

if TYPE_CHECKING:
    from spike_dgl.evaluation.ranking import Ranker
    from spike_dgl.models.base import ScoreFunction
    from spike_dgl.training.devices import Device

SCORES_AT_ONCE = 1 << 26
"""Maximum number of scores in memory at a time, for lists of many users."""
USERS_AT_ONCE = 256
"""Maximum number of users scored at a time."""

List: TypeAlias = tuple[IndexArray, FloatArray]
"""Items, best first, and their scores."""


class UserScores(ABC):
    """Scores of all items for users of a run."""

    @abstractmethod
    def of(self, user: int) -> FloatArray:
        """Return the scores [I] of all items for a user row."""

    @abstractmethod
    def lists(
        self, users: IndexArray, k: int, *, exclude_seen: bool, allowed: BoolArray | None
    ) -> Iterator[List]:
        """Yield the top-k list of each user; ties are in the order of items.

        Parameters
        ----------
        users
            Rows [n].
        k
            Length of a list; lists are shorter if fewer items are left.
        exclude_seen
            Whether to exclude seen items.
        allowed
            True [I] for the items to rank; None for all.
        """


@dataclass(frozen=True)
class EmbeddingScores(UserScores):
    """Inner products on the CPU, in numpy: importing torch takes longer than most requests, and so does its ranking.

    Parameters
    ----------
    users, items
        Final embeddings, [U, D] and [I, D].
    seen
        Pairs to exclude from lists.
    """

    users: FloatArray
    items: FloatArray
    seen: Interactions

    @cached_property
    def _offsets(self) -> IndexArray:
        return self.seen.offsets(len(self.users))

    def of(self, user: int) -> FloatArray:
        """Return the scores [I] of all items for a user row."""
        # One user at a time and always all items, so that a score does not depend on the rest of the request.
        scores: FloatArray = self.items @ self.users[user]
        return scores

    def lists(
        self, users: IndexArray, k: int, *, exclude_seen: bool, allowed: BoolArray | None
    ) -> Iterator[List]:
        """Yield the top-k list of each user."""
        offsets = self._offsets
        for user in users.tolist():
            seen = self.seen.items[offsets[user] : offsets[user + 1]] if exclude_seen else None
            yield top_items(self.of(user), k, seen, allowed)


class RankedScores(UserScores):
    """Scores of a score function, ranked as in evaluation, in chunks on the device of the scores.

    Parameters
    ----------
    score
        Scores of users.
    seen
        Pairs to exclude from lists.
    num_users, num_items
        U and I.
    """

    def __init__(self, score: ScoreFunction, seen: Interactions, num_users: int, num_items: int) -> None:
        from spike_dgl.evaluation.ranking import Ranker

        self._num_items = num_items
        at_once = max(1, min(USERS_AT_ONCE, SCORES_AT_ONCE // max(1, num_items)))
        self._ranker: Ranker = Ranker(score, seen, num_users, num_items, at_once)

    def of(self, user: int) -> FloatArray:
        """Return the scores [I] of all items for a user row."""
        import torch

        scores: FloatArray = self._ranker.scores(torch.tensor([user]))[0].cpu().numpy()
        return scores

    def lists(
        self, users: IndexArray, k: int, *, exclude_seen: bool, allowed: BoolArray | None
    ) -> Iterator[List]:
        """Yield the top-k list of each user."""
        import torch

        mask = None if allowed is None else torch.from_numpy(allowed)
        ranked = self._ranker.rank(
            torch.from_numpy(users), min(k, self._num_items), exclude_seen=exclude_seen, allowed=mask
        )
        for items, scores in zip(ranked.items.numpy(), ranked.scores.numpy(), strict=True):
            listed = items >= 0
            yield items[listed], scores[listed]


def embedding_scores(users: FloatArray, items: FloatArray, seen: Interactions, device: Device) -> UserScores:
    """Return the inner products of embeddings [U, D] and [I, D], on a device.

    Raises `ConfigError` if there is no such device.
    """
    if device == "cpu":
        return EmbeddingScores(users, items, seen)
    import torch

    from spike_dgl.models.base import Embeddings
    from spike_dgl.training.devices import choose_device

    place = choose_device(device, setting="device")
    if place.type == "cpu":
        return EmbeddingScores(users, items, seen)
    embeddings = Embeddings(*(torch.from_numpy(rows).to(place) for rows in (users, items)))
    return RankedScores(embeddings.scores, seen, len(users), len(items))


def top_items(
    scores: FloatArray, k: int, excluded: IndexArray | None = None, allowed: BoolArray | None = None
) -> List:
    """Return the k items with the highest of the scores [I], ties in the order of items, and their scores."""
    left = scores.copy()
    if allowed is not None:
        left[~allowed] = -np.inf
    if excluded is not None:
        left[excluded] = -np.inf
    # Keep all ties with the k-th best score, so that they are broken by the order of the items, too.
    least = float(np.partition(left, -k)[-k]) if k < len(left) else -np.inf
    rows = np.flatnonzero(left >= least if least > -np.inf else left > -np.inf)
    best = rows[np.argsort(-left[rows], kind="stable")][:k]
    return best, left[best]
