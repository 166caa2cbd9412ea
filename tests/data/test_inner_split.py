"""The inner split has no held-out pairs of the outer split, and holds out the latest training pairs."""

from __future__ import annotations

import numpy as np
import pytest

from spike_dgl.data.dataset import Interactions
from spike_dgl.data.inner_split import split_inner
from spike_dgl.data.options import DataOptions, load
from spike_dgl.errors import ConfigError
from tests.toy import dataset, random_dataset


def pairs(part: Interactions) -> list[tuple[int, int]]:
    return list(zip(part.users.tolist(), part.items.tolist(), strict=True))


def test_the_end_of_the_training_part_is_held_out_in_the_same_shares() -> None:
    """Two of ten interactions are test and two validation pairs; of the remaining six, one each."""
    data = dataset(
        [(0, item) for item in range(6)],
        [],
        sizes=(1, 10, 10, 1),
        valid=[(0, 6), (0, 7)],
        test=[(0, 8), (0, 9)],
    )
    times = np.array([3, 9, 1, 2, 8, 0], np.float64)
    data = data.replace(train=Interactions(data.train.users, data.train.items, times))
    inner = split_inner(data, seed=1)
    assert pairs(inner.train) == [(0, 0), (0, 2), (0, 3), (0, 5)]
    assert inner.train.times.tolist() == [3, 1, 2, 0]
    assert (pairs(inner.valid), pairs(inner.test)) == ([(0, 4)], [(0, 1)])
    assert "data.inner_split=true" in inner.altered[-1]


def test_of_the_bundled_data_nothing_held_out_is_left() -> None:
    whole, inner = load(DataOptions()), load(DataOptions(inner_split=True))
    known = set(pairs(whole.train))
    parts = [set(pairs(part)) for part in (inner.train, inner.valid, inner.test)]
    assert set.union(*parts) == known
    assert sum(map(len, parts)) == len(known)
    assert len(inner.test) / len(known) == pytest.approx(
        len(whole.test) / (len(whole.train) + len(whole.valid) + len(whole.test)), abs=0.01
    )


def test_without_times_it_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"data\.inner_split is true.*does not say when"):
        split_inner(random_dataset(1), seed=1)
