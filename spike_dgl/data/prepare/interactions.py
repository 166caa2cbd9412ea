"""Timed interactions by raw id, and the filters that every source shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spike_dgl.typing import IndexArray


@dataclass(frozen=True)
class InteractionLog:
    """Who interacted with what, and when.

    Parameters
    ----------
    users, items
        Row indices [X] into `user_ids` and `item_ids`.
    times
        When each interaction happened [X]; any numbers that grow with time.
    user_ids, item_ids
        Raw ids in row order; each occurs in at least one interaction.
    """

    users: IndexArray
    items: IndexArray
    times: NDArray[Any]
    user_ids: NDArray[Any]
    item_ids: NDArray[Any]

    @classmethod
    def from_raw(cls, users: NDArray[Any], items: NDArray[Any], times: NDArray[Any]) -> InteractionLog:
        """Number raw ids [X] in ascending order: numbers by value, texts by alphabet."""
        user_ids, user_rows = np.unique(users, return_inverse=True)
        item_ids, item_rows = np.unique(items, return_inverse=True)
        return cls(user_rows.astype(np.int64), item_rows.astype(np.int64), times, user_ids, item_ids)

    def __len__(self) -> int:
        return len(self.users)

    def select(self, chosen: NDArray[Any]) -> InteractionLog:
        """The interactions at some positions, or where a mask is true; ids that lose their last one go."""
        return InteractionLog.from_raw(
            self.user_ids[self.users[chosen]], self.item_ids[self.items[chosen]], self.times[chosen]
        )

    def counts(self) -> dict[str, int]:
        """Numbers of users, items and interactions."""
        return {"users": len(self.user_ids), "items": len(self.item_ids), "interactions": len(self)}


def first_of_each_pair(log: InteractionLog) -> InteractionLog:
    """Keep, of repeated interactions of a user with an item, the earliest."""
    order = np.lexsort((log.times, log.items, log.users))
    _, first = np.unique(log.users[order] * len(log.item_ids) + log.items[order], return_index=True)
    return log.select(np.sort(order[first]))


def k_core(log: InteractionLog, k: int) -> InteractionLog:
    """Keep the largest part in which every user and every item has at least `k` interactions.

    Dropping an item can leave a user with too few, and the other way round, so it repeats until nothing
    changes. Pairs must be distinct (`first_of_each_pair`).
    """
    kept = np.arange(len(log))
    while True:
        users, items = log.users[kept], log.items[kept]
        enough = (np.bincount(users)[users] >= k) & (np.bincount(items)[items] >= k)
        if enough.all():
            return log.select(kept)
        kept = kept[enough]
