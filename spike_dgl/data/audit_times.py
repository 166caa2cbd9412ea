"""Checks of the splits against time: training pairs later than held-out pairs, and ties at split boundaries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.data.findings import Finding, finding, skipped

LATE = "training pairs after held-out pairs of their user"
TIES = "users whose splits meet in one moment"


def order_in_time(dataset: Dataset) -> Iterator[Finding]:
    """Check for training pairs later than their user's held-out pairs, and for ties at the split boundaries."""
    held_out = {
        name: part
        for name, part in (("validation", dataset.valid), ("test", dataset.test))
        if len(part) and part.times is not None
    }
    if dataset.train.times is None or not held_out:
        yield skipped(LATE, "The data has no times.")
        yield skipped(TIES, "The data has no times.")
        return
    for name, part in held_out.items():
        late = pairs_after(dataset.train, part, dataset.num_users)
        message = (
            f"They are later than the user's first {name} pair, so training uses the future. This is normal in a "
            "random split, but results then do not show how well future interactions are predicted."
        )
        yield finding(f"training pairs after {name} pairs of their user", late, "warn", message)
    yield _ties(dataset, list(held_out.values()))


def pairs_after(train: Interactions, held_out: Interactions, num_users: int) -> int:
    """Return the number of training pairs later than their user's first held-out pair; both splits need times."""
    first = _by_user(held_out, held_out.times, num_users, np.minimum, np.inf)
    return int((train.times > first[train.users]).sum())  # type: ignore[operator]


def _ties(dataset: Dataset, held_out: Sequence[Interactions]) -> Finding:
    """Check for users whose last time in one split is their first time in a later split."""
    tied, by_item = np.zeros((2, dataset.num_users), dtype=bool)
    for earlier, later in combinations([dataset.train, *held_out], 2):
        last = _by_user(earlier, earlier.times, dataset.num_users, np.maximum, -np.inf)
        meet = last == _by_user(later, later.times, dataset.num_users, np.minimum, np.inf)
        before, after = (
            part.select(meet[part.users] & (part.times == last[part.users])) for part in (earlier, later)
        )
        highest = _by_user(before, before.items, dataset.num_users, np.maximum, -np.inf)
        by_item |= meet & (highest < _by_user(after, after.items, dataset.num_users, np.minimum, np.inf))
        tied |= meet
    count, ordered = int(tied.sum()), int(by_item.sum())
    message = (
        f"The order of their pairs at that time is unknown. For {ordered:,} of these users the later split has the "
        "items with the highest numbers. If that is nearly all of them, ties were broken by item number, and the same "
        "items are held out for everyone: split the data again with ties in random order, as prepare does."
    )
    return finding(TIES, count, "warn", message)


def _by_user(
    part: Interactions, values: NDArray[Any] | None, num_users: int, choose: np.ufunc, start: float
) -> NDArray[np.float64]:
    """Return the largest or smallest of each user's values [U]; `start` where a user has none."""
    chosen = np.full(num_users, start)
    choose.at(chosen, part.users, values)
    return chosen
