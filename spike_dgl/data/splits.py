"""Splits of interactions into training, validation and test, reproducible and vectorised over users."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spike_dgl.data.dataset import Interactions, tie_order
from spike_dgl.errors import ConfigError
from spike_dgl.typing import BoolArray, IndexArray

MIN_PAIRS_TO_SPLIT = 5
"""Minimum number of training pairs of a user to take validation pairs from; with fewer, too few would be left."""


def carve_validation(
    train: Interactions, num_users: int, fraction: float, seed: int
) -> tuple[Interactions, Interactions]:
    """Take a validation split from the training pairs, at random within each user.

    Parameters
    ----------
    train
        Training pairs [X].
    num_users
        U.
    fraction
        Share of each user's pairs to use for validation, in [0, 1). For users with at least `MIN_PAIRS_TO_SPLIT`
        pairs, at least one is taken and at least one kept; other users keep all.
    seed
        Random seed. The split is the same on every platform and numpy version.

    Returns
    -------
    tuple of Interactions
        The remaining training pairs, and the validation pairs.

    Raises
    ------
    ConfigError
        If `fraction` is not in [0, 1).
    """
    _check_fractions(fraction)
    if fraction == 0:
        return train, Interactions.empty()
    counts = np.bincount(train.users, minlength=num_users)
    wanted = np.clip(_share(counts, fraction), 1, np.maximum(counts - 1, 1))
    wanted[counts < MIN_PAIRS_TO_SPLIT] = 0
    held_out = _rank_within_user(train.users, random_priorities(len(train), seed)) < wanted[train.users]
    return train.select(~held_out), train.select(held_out)


def split_by_time(
    users: IndexArray,
    items: IndexArray,
    times: NDArray[Any],
    *,
    valid_fraction: float,
    test_fraction: float,
    seed: int | None,
) -> tuple[Interactions, Interactions, Interactions]:
    """Split each user's pairs by time: the oldest for training, later ones for validation, the latest for test.

    A repeated pair counts once, at its earliest time. Pairs of one user at the same time are put in random order,
    independent of the order of the rows. Shares are rounded to the nearest number of pairs, and every user keeps at
    least one training pair.

    Parameters
    ----------
    users, items
        User and item rows of the pairs [X].
    times
        Time of each pair [X], as any numbers that grow with time.
    valid_fraction, test_fraction
        Shares of each user's pairs, both at least 0 and together less than 1.
    seed
        Random seed of the order of pairs at the same time. None orders them by item: the split then depends on how
        items are numbered, so use it only to reproduce a split made in this way.

    Returns
    -------
    tuple of Interactions
        Training, validation and test pairs, with their times.

    Raises
    ------
    ConfigError
        If the fractions are out of range.
    """
    _check_fractions(valid_fraction, test_fraction)
    users, items, times = _first_occurrences(users, items, times)
    counts = np.bincount(users, minlength=1)
    num_test = np.minimum(_share(counts, test_fraction), np.maximum(counts - 1, 0))
    num_valid = np.minimum(_share(counts, valid_fraction), np.maximum(counts - num_test - 1, 0))
    from_the_end = counts[users] - _rank_in_time(users, items, times, seed)
    is_test = from_the_end <= num_test[users]
    is_valid = ~is_test & (from_the_end <= (num_test + num_valid)[users])
    return _parts(users, items, times, is_valid, is_test)


def split_at_random(
    users: IndexArray, items: IndexArray, *, valid_fraction: float, test_fraction: float, seed: int
) -> tuple[Interactions, Interactions, Interactions]:
    """Split each user's pairs at random: `split_by_time` with random times, which are then removed."""
    pairs = Interactions.from_pairs(users, items)
    times = random_priorities(len(pairs), seed)
    parts = split_by_time(
        pairs.users, pairs.items, times, valid_fraction=valid_fraction, test_fraction=test_fraction, seed=seed
    )
    train, valid, test = (replace(part, times=None) for part in parts)
    return train, valid, test


def split_by_time_of_all(
    users: IndexArray,
    items: IndexArray,
    times: NDArray[Any],
    *,
    valid_fraction: float,
    test_fraction: float,
) -> tuple[Interactions, Interactions, Interactions]:
    """Split at two points in time that are the same for all users; the latest pairs of all are held out.

    Users and items may have held-out pairs only. Pairs at a boundary time all go to the earlier split, which can leave
    the later one empty. Parameters and errors are those of `split_by_time`, except that the shares are of all pairs.
    """
    _check_fractions(valid_fraction, test_fraction)
    users, items, times = _first_occurrences(users, items, times)
    ordered, size = np.sort(times), len(times)
    num_test, num_valid = (int(_share(np.array(size), share)) for share in (test_fraction, valid_fraction))
    last_train = ordered[max(size - num_test - num_valid - 1, 0)] if size else 0
    last_valid = ordered[max(size - num_test - 1, 0)] if size else 0
    is_train = times <= last_train
    is_valid = ~is_train & (times <= last_valid)
    return _parts(users, items, times, is_valid, ~is_train & ~is_valid)


def leave_one_out(
    users: IndexArray, items: IndexArray, times: NDArray[Any], *, seed: int | None
) -> tuple[Interactions, Interactions, Interactions]:
    """Hold out each user's last pair for test and the one before for validation.

    Users with two pairs have no validation pair; users with one pair have a training pair only. Ties are ordered as in
    `split_by_time`.
    """
    users, items, times = _first_occurrences(users, items, times)
    rank = _rank_in_time(users, items, times, seed)
    from_the_end = np.bincount(users, minlength=1)[users] - rank
    return _parts(users, items, times, (from_the_end == 2) & (rank > 0), (from_the_end == 1) & (rank > 0))


def _parts(
    users: IndexArray, items: IndexArray, times: NDArray[Any], is_valid: BoolArray, is_test: BoolArray
) -> tuple[Interactions, Interactions, Interactions]:
    """Divide pairs, sorted by user and item, into training, validation and test."""
    pairs = Interactions(users, items, times.astype(np.float64))
    return pairs.select(~is_test & ~is_valid), pairs.select(is_valid), pairs.select(is_test)


def _check_fractions(*fractions: float) -> None:
    if not (all(fraction >= 0 for fraction in fractions) and sum(fractions) < 1):
        shown = ", ".join(str(fraction) for fraction in fractions)
        raise ConfigError(f"fractions of a split must be at least 0 and together less than 1, got {shown}")


def _share(counts: NDArray[np.int64], fraction: float) -> IndexArray:
    """Return `fraction` of each count, rounded to the nearest integer, halves up."""
    nearest: IndexArray = np.floor(counts * fraction + 0.5).astype(np.int64)
    return nearest


def random_priorities(length: int, seed: int) -> NDArray[np.uint64]:
    """Return random numbers from the raw bit stream, which numpy guarantees not to change."""
    priorities: NDArray[np.uint64] = np.random.PCG64(seed).random_raw(length)
    return priorities


def _rank_in_time(users: IndexArray, items: IndexArray, times: NDArray[Any], seed: int | None) -> IndexArray:
    """Return the number of earlier pairs of the same user, per pair [X]."""
    return _rank_within_user(users, times, items if seed is None else tie_order(users, items, seed))


def _rank_within_user(users: IndexArray, *priorities: NDArray[Any]) -> IndexArray:
    """Return the number of pairs of the same user with a lower priority, per pair [X].

    Ties are broken by the next priorities, and finally by position.
    """
    order = np.lexsort((*priorities[::-1], users))
    sorted_users = users[order]
    rank = np.empty(len(users), dtype=np.int64)
    rank[order] = np.arange(len(users)) - np.searchsorted(sorted_users, sorted_users)
    return rank


def _first_occurrences(
    users: IndexArray, items: IndexArray, times: NDArray[Any]
) -> tuple[IndexArray, IndexArray, NDArray[Any]]:
    """Return unique pairs, each at its earliest time, sorted by user and item."""
    order = np.lexsort((times, items, users))
    users, items, times = users[order], items[order], times[order]
    first = np.ones(len(users), dtype=bool)
    first[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    return users[first], items[first], times[first]
