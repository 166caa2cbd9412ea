"""Splits: sizes, order in time, determinism, and users with few pairs."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.data.dataset import Interactions
from spike_dgl.data.splits import carve_validation, leave_one_out, split_at_random, split_by_time
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
        np.zeros(10, np.int64), items, times, valid_fraction=0.1, test_fraction=0.2, seed=0
    )
    assert set(test.items) == {2, 6}
    assert set(valid.items) == {7}
    assert len(train) == 7


def test_equal_times_are_ordered_at_random_whatever_the_order_of_rows() -> None:
    items, users, times = np.random.default_rng(0).permutation(40), np.zeros(40, np.int64), np.zeros(40)
    tests = []
    for seed, order in ((1, np.arange(40)), (1, np.arange(40)[::-1]), (2, np.arange(40))):
        parts = split_by_time(users, items[order], times, valid_fraction=0.2, test_fraction=0.2, seed=seed)
        assert [len(part) for part in parts] == [24, 8, 8]
        tests.append(set(parts[2].items.tolist()))
    assert tests[0] == tests[1] != tests[2]
    _, valid, test = split_by_time(users, items, times, valid_fraction=0.2, test_fraction=0.2, seed=None)
    assert (set(valid.items), set(test.items)) == (set(range(24, 32)), set(range(32, 40)))


def one_day_a_user() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return 300 users with 12 of 100 items each, lower numbers far more popular, one day per user."""
    random = np.random.default_rng(1)
    weights = 1 / np.arange(1, 101)
    items = [random.choice(100, 12, replace=False, p=weights / weights.sum()) for _ in range(300)]
    users = np.repeat(np.arange(300), 12)
    return users, np.concatenate(items), users % 7


@pytest.mark.parametrize("split", ["time", "leave-one-out"])
def test_a_split_of_ties_is_as_hard_as_a_random_one(split: str) -> None:
    users, items, times = one_day_a_user()
    shares = {"valid_fraction": 0.1, "test_fraction": 0.2}
    random_train, _, random_test = split_at_random(users, items, **shares, seed=5)
    train, _, test = (
        split_by_time(users, items, times, **shares, seed=5)
        if split == "time"
        else leave_one_out(users, items, times, seed=5)
    )
    expected = found_by_popularity(random_train, random_test)
    assert expected > 0.3
    assert found_by_popularity(train, test) == pytest.approx(expected, abs=0.06)


def found_by_popularity(train: Interactions, test: Interactions) -> float:
    """Share of the test pairs whose item is among the 20 most popular items of training."""
    return float(np.isin(test.items, np.bincount(train.items, minlength=100).argsort()[-20:]).mean())


def test_histories_put_ties_in_random_order_too() -> None:
    users, items, _ = one_day_a_user()
    pairs = as_pairs(list(zip(users.tolist(), items.tolist(), strict=True)))
    timed = replace(pairs, times=np.zeros(len(pairs)), tie_seed=4)
    later = timed.items[timed.by_time().reshape(300, 12)[:, 6:]].mean()
    assert later == pytest.approx(timed.items.mean(), rel=0.05)
    assert not np.array_equal(timed.by_time(), replace(timed, tie_seed=5).by_time())
    some = timed.select(timed.items % 3 > 0)  # the order of the others stays
    whole_order = [pair for pair in timed.by_time().tolist() if timed.items[pair] % 3 > 0]
    kept = np.flatnonzero(timed.items % 3 > 0)
    assert kept[some.by_time()].tolist() == whole_order


def test_a_repeated_pair_counts_once_at_its_earliest_time() -> None:
    users, items = np.zeros(4, np.int64), np.array([7, 8, 9, 7])
    train, valid, test = split_by_time(
        users, items, np.array([0, 1, 2, 99]), valid_fraction=0.0, test_fraction=0.4, seed=0
    )
    assert (train.items.tolist(), len(valid), test.items.tolist()) == ([7, 8], 0, [9])


@given(PAIRS, st.floats(0, 0.45), st.floats(0, 0.45))
def test_splits_in_time_are_ordered_disjoint_and_leave_training_pairs(
    pairs: list[tuple[int, int]], valid_fraction: float, test_fraction: float
) -> None:
    whole = as_pairs(pairs)
    times = (whole.items * 7) % 31
    train, valid, test = split_by_time(
        whole.users, whole.items, times, valid_fraction=valid_fraction, test_fraction=test_fraction, seed=3
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
