"""Interactions keep their times through all operations, and have the right positions in a user's history."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.data.dataset import Interactions
from spike_dgl.data.hiding import hide
from tests.toy import interactions, random_dataset, with_random_times

timed_pairs = st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 5)), st.integers(0, 3), min_size=1)


def timed(times: dict[tuple[int, int], int]) -> Interactions:
    pairs = sorted(times)
    users, items = np.array(pairs, dtype=np.int64).T
    return Interactions(users, items, np.array([times[pair] for pair in pairs], np.float64))


def test_places_count_what_came_before_and_ties_go_by_item() -> None:
    part = timed({(0, 4): 1, (0, 5): 3, (0, 7): 1, (0, 9): 0, (2, 1): 8, (2, 3): 2})
    assert part.places(3).tolist() == [1, 3, 2, 0, 1, 0]


@given(timed_pairs)
def test_places_of_a_user_are_all_numbers_in_the_order_of_time(times: dict[tuple[int, int], int]) -> None:
    part = timed(times)
    places = part.places(4)
    for user in range(4):
        of_user = np.flatnonzero(part.users == user)
        in_order = of_user[places[of_user].argsort()]
        assert sorted(places[of_user]) == list(range(len(of_user)))
        assert (np.diff(part.times[in_order]) >= 0).all()


def test_without_times_there_are_no_places() -> None:
    assert interactions([(0, 1)]).places(1) is None
    assert Interactions.empty().places(0) is None


def test_selected_pairs_and_those_of_users_who_are_left_keep_their_times() -> None:
    data = random_dataset(3)
    train = Interactions(data.train.users, data.train.items, np.arange(len(data.train), dtype=np.float64))
    chosen = train.select(train.users > 2)
    assert chosen.times.tolist() == np.flatnonzero(train.users > 2).tolist()
    left = hide(data.replace(train=train), 0.3, 0.3, 1)
    assert 0 < len(left.train) < len(train)
    when = dict(zip(zip(data.train.users, data.train.items, strict=True), train.times, strict=True))
    for user, item, time in zip(left.train.users, left.train.items, left.train.times, strict=True):
        ids = left.users.ids[user], left.items.ids[item]
        assert time == when[data.users.index(ids[0]), data.items.index(ids[1])]


def test_data_that_differ_in_times_only_have_different_checksums() -> None:
    plain = random_dataset(1)
    one, other = with_random_times(plain, 1), with_random_times(plain, 2)
    assert len({plain.checksum, one.checksum, other.checksum}) == 3
    assert one.checksum == with_random_times(plain, 1).checksum
    assert {data.checksum_without_times for data in (one, other)} == {plain.checksum}
    held_out = replace(one.train, times=np.arange(len(one.train), dtype=np.float64))
    assert one.replace(test=held_out).checksum != one.replace(test=replace(held_out, times=None)).checksum
    assert one.has_checksum(one.checksum[:8])
    assert one.has_checksum(plain.checksum)  # recorded by an earlier version
    assert not one.has_checksum(other.checksum)
