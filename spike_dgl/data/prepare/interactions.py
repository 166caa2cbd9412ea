"""Interactions with times and raw ids, and the filters that all sources share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spike_dgl.typing import BoolArray

DAY = 24 * 60 * 60 * 1000
"""Length of a day in milliseconds."""


class Ids(Protocol):
    """Raw ids in row order: a numpy array, or an Arrow array, which needs a fifth of the memory."""

    def __len__(self) -> int: ...

    def take(self, rows: Any, /) -> Ids:
        """Return the ids at some positions."""

    def tolist(self) -> list[Any]:
        """Return the ids as Python objects."""


@dataclass(frozen=True)
class InteractionLog:
    """Interactions with times and raw ids.

    Parameters
    ----------
    users, items
        Row indices [X] into `user_ids` and `item_ids`.
    times
        Time of each interaction [X], as any numbers that grow with time.
    rows
        Position of each interaction in its source [X], counted from 0 and ascending.
    user_ids, item_ids
        Raw ids in row order; each occurs in at least one interaction.
    """

    users: NDArray[np.integer]
    items: NDArray[np.integer]
    times: NDArray[Any]
    rows: NDArray[np.integer]
    user_ids: Ids
    item_ids: Ids

    @classmethod
    def from_raw(cls, users: NDArray[Any], items: NDArray[Any], times: NDArray[Any]) -> InteractionLog:
        """Build from raw ids [X], numbered in ascending order: numbers by value, texts alphabetically."""
        user_ids, user_rows = np.unique(users, return_inverse=True)
        item_ids, item_rows = np.unique(items, return_inverse=True)
        return cls(user_rows, item_rows, times, np.arange(len(times)), user_ids, item_ids)

    def __len__(self) -> int:
        return len(self.users)

    def select(self, chosen: NDArray[Any]) -> InteractionLog:
        """Return the interactions at some positions, or where a mask is true; ids without interactions are dropped."""
        users, user_ids = _without_unused(self.users[chosen], self.user_ids)
        items, item_ids = _without_unused(self.items[chosen], self.item_ids)
        return InteractionLog(users, items, self.times[chosen], self.rows[chosen], user_ids, item_ids)

    def keys(self) -> NDArray[np.int64]:
        """Return a unique key per user-item pair, `user * I + item` [X]."""
        keys: NDArray[np.int64] = self.users.astype(np.int64) * len(self.item_ids) + self.items
        return keys

    def counts(self) -> dict[str, int]:
        """Return the numbers of users, items and interactions."""
        return {"users": len(self.user_ids), "items": len(self.item_ids), "interactions": len(self)}

    def raw_ids(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the raw ids of users and items, as text."""
        return [str(raw) for raw in self.user_ids.tolist()], [str(raw) for raw in self.item_ids.tolist()]


def within_days(log: InteractionLog, first: int | None, last: int | None) -> BoolArray:
    """True [X] for interactions from the day that starts at `first` to the end of the day that starts at `last`.

    Both are in milliseconds, as `log.times` must be; None for no bound.
    """
    inside: BoolArray = np.ones(len(log), dtype=bool)
    if first is not None:
        inside &= log.times >= first
    if last is not None:
        inside &= log.times < last + DAY
    return inside


def first_of_each_pair(log: InteractionLog) -> InteractionLog:
    """Keep the earliest of repeated interactions of a user with an item."""
    order = np.lexsort((log.times, log.items, log.users))
    new = np.ones(len(order), dtype=bool)
    new[1:] = np.diff(log.users[order]) != 0
    new[1:] |= np.diff(log.items[order]) != 0
    return log.select(np.sort(order[new]))


def k_core(log: InteractionLog, k: int) -> InteractionLog:
    """Keep the largest subset in which every user and every item has at least `k` interactions.

    Dropping an item can leave a user with too few interactions and vice versa, so this repeats until nothing changes.
    Pairs must be distinct (`first_of_each_pair`).
    """
    kept = np.arange(len(log))
    while True:
        users, items = log.users[kept], log.items[kept]
        enough = (np.bincount(users)[users] >= k) & (np.bincount(items)[items] >= k)
        if enough.all():
            return log.select(kept)
        kept = kept[enough]


def _without_unused(rows: NDArray[np.integer], ids: Ids) -> tuple[NDArray[np.integer], Ids]:
    """Remove unused ids and renumber the row indices."""
    used = np.bincount(rows, minlength=len(ids)) > 0
    new_rows = (np.cumsum(used) - 1).astype(rows.dtype)
    return new_rows[rows], ids.take(np.flatnonzero(used))
