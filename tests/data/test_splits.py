"""Splits: sizes, order in time, determinism, and what users with few pairs keep."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.data.dataset import Interactions
from spike_dgl.data.splits import carve_validation, split_at_random, split_by_time
from spike_dgl.errors import ConfigError

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), max_size=80)


def as_pairs(pairs: list[tuple[int, int]]) -> Interactions:
    rows = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Interactions.from_pairs(rows[:, 0], rows[:, 1])


def counts(part: Interactions) -> list[int]:
    return [int((part.users == user).sum()) for user in range(6)]


def as_set(part: Interactions) -> set[tuple[int, int]]:
    return set(zip(part.users.tolist(), part.items.tolist(), strict=True))


def test_carved_shares_are_a_tenth_and_at_least_one_for_users_with_five_pairs() -> None:
    train = as_pairs(
        [(user, item) for user, size in enumerate([1, 4, 5, 14, 15, 30]) for item in range(size)]
    )
    rest, valid = carve_validation(train, 6, 0.1, seed=1)
    assert counts(valid) == [0, 0, 1, 1, 2, 3]
    assert counts(rest) == [1, 4, 4, 13, 13, 27]


def test_carving_with_a_large_fraction_leaves_one_training_pair() -> None:
    train = as_pairs([(0, item) for item in range(5)])
    rest, valid = carve_validation(train, 1, 0.99, seed=1)
    assert (len(rest), len(valid)) == (1, 4)


def test_carving_is_the_same_on_every_platform() -> None:
    train = as_pairs([(user, item) for user in range(6) for item in range(user, 31, 2)])
    _, valid = carve_validation(train, 6, 0.2, seed=2020)
    digest = hashlib.sha256(valid.keys(31).astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "09564d6e85d3709b"


def test_the_seed_matters() -> None:
    train = as_pairs([(0, item) for item in range(30)])
    parts = {carve_validation(train, 1, 0.3, seed=seed)[1].items.tobytes() for seed in range(5)}
    assert len(parts) == 5


def test_no_fraction_no_validation() -> None:
    train = as_pairs([(0, item) for item in range(30)])
    rest, valid = carve_validation(train, 1, 0.0, seed=1)
    assert (len(rest), len(valid)) == (30, 0)


@given(PAIRS, st.floats(0, 0.95), st.integers(0, 5))
def test_carving_partitions_the_pairs(pairs: list[tuple[int, int]], fraction: float, seed: int) -> None:
    train = as_pairs(pairs)
    rest, valid = carve_validation(train, 6, fraction, seed)
    assert not as_set(rest) & as_set(valid)
    assert as_set(rest) | as_set(valid) == as_set(train)
    assert set(rest.users) == set(train.users)


def test_the_latest_pairs_are_test_and_the_ones_before_validation() -> None:
    items, times = np.arange(10), np.array([5, 3, 9, 1, 0, 2, 8, 7, 6, 4])
    train, valid, test = split_by_time(
        np.zeros(10, np.int64), items, times, valid_fraction=0.1, test_fraction=0.2
    )
    assert set(test.items) == {2, 6}
    assert set(valid.items) == {7}
    assert len(train) == 7


def test_equal_times_are_ordered_by_item_whatever_the_order_of_rows() -> None:
    items = np.array([4, 1, 3, 0, 2])
    users, times = np.zeros(5, np.int64), np.zeros(5)
    for order in (np.arange(5), np.arange(5)[::-1]):
        _, valid, test = split_by_time(users, items[order], times, valid_fraction=0.2, test_fraction=0.2)
        assert (valid.items.tolist(), test.items.tolist()) == ([3], [4])


def test_a_repeated_pair_counts_once_at_its_earliest_time() -> None:
    users, items = np.zeros(4, np.int64), np.array([7, 8, 9, 7])
    train, valid, test = split_by_time(
        users, items, np.array([0, 1, 2, 99]), valid_fraction=0.0, test_fraction=0.4
    )
    assert (train.items.tolist(), len(valid), test.items.tolist()) == ([7, 8], 0, [9])


@given(PAIRS, st.floats(0, 0.45), st.floats(0, 0.45))
def test_splits_in_time_are_ordered_disjoint_and_leave_training_pairs(
    pairs: list[tuple[int, int]], valid_fraction: float, test_fraction: float
) -> None:
    whole = as_pairs(pairs)
    times = (whole.items * 7) % 31
    train, valid, test = split_by_time(
        whole.users, whole.items, times, valid_fraction=valid_fraction, test_fraction=test_fraction
    )
    parts = [as_set(train), as_set(valid), as_set(test)]
    assert sum(map(len, parts)) == len(whole)
    assert set.union(*parts) == as_set(whole)
    assert set(train.users) == set(whole.users)
    for user in set(whole.users.tolist()):
        ordered = [{(item * 7) % 31 for u, item in part if u == user} for part in parts]
        for earlier, later in ((0, 1), (1, 2), (0, 2)):
            assert max(ordered[earlier], default=-1) < min(ordered[later], default=99)


def test_a_random_split_does_not_depend_on_the_order_of_rows() -> None:
    users, items = np.repeat(np.arange(3), 20), np.tile(np.arange(20), 3)
    order = np.random.default_rng(0).permutation(60)
    options = {"valid_fraction": 0.1, "test_fraction": 0.1, "seed": 4}
    first = split_at_random(users, items, **options)  # type: ignore[arg-type]
    second = split_at_random(users[order], items[order], **options)  # type: ignore[arg-type]
    assert [as_set(part) for part in first] == [as_set(part) for part in second]
    assert [len(part) for part in first] == [48, 6, 6]


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_fractions_out_of_range_are_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match="less than 1"):
        carve_validation(Interactions.empty(), 1, fraction, seed=0)
