"""Lists by raw id: order, exclusion of seen items, and independence of other users in the request."""

from __future__ import annotations

import numpy as np
import pytest

from spike_dgl.data.dataset import Vocabulary
from spike_dgl.errors import SpikeError, UnknownIdError
from spike_dgl.recommend import Item, Recommender
from tests.toy import dataset

USERS = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
ITEMS = np.array([[0.1, 0.9], [0.9, 0.1], [0.5, 0.5], [0.5, 0.4]], dtype=np.float32)


@pytest.fixture
def recommender() -> Recommender:
    data = dataset([(0, 1), (1, 0)], [(0, 0, 4)], sizes=(2, 4, 5, 1), valid=[(1, 2)], test=[(0, 0)])
    return Recommender(data, USERS, ITEMS)


def ids(items: list) -> list[str]:
    return [item.id for item in items]


def test_best_first_without_what_was_seen_in_training_or_validation(recommender: Recommender) -> None:
    assert ids(recommender.recommend("u0")) == ["i2", "i3", "i0"]  # equal scores: the first item first
    assert ids(recommender.recommend("u1", 2)) == ["i3", "i1"]


def test_scores_are_inner_products(recommender: Recommender) -> None:
    best = recommender.recommend("u0", 1, exclude_seen=False)[0]
    assert (best.id, best.name, best.score) == ("i1", "i1", pytest.approx(0.9))


def test_a_list_does_not_depend_on_who_else_is_asked_for(recommender: Recommender) -> None:
    assert recommender.recommend(["u1", "u0"]) == [
        recommender.recommend("u1"),
        recommender.recommend("u0"),
    ]


def test_more_than_there_is(recommender: Recommender) -> None:
    assert len(recommender.recommend("u1", 100)) == 2


def test_an_unknown_user_is_named(recommender: Recommender) -> None:
    with pytest.raises(UnknownIdError, match=r"unknown user 'u01'; did you mean 'u[01]'"):
        recommender.recommend("u01")


def test_history_names_what_was_liked(recommender: Recommender) -> None:
    assert recommender.history("u1") == [Item("i0", "i0"), Item("i2", "i2")]


def test_only_candidates_are_listed(recommender: Recommender) -> None:
    assert ids(recommender.recommend("u0", candidates=["i0", "i3", "i1"])) == ["i3", "i0"]
    assert recommender.recommend("u0", candidates=[]) == []


def test_scores_are_those_of_the_list(recommender: Recommender) -> None:
    listed = recommender.recommend("u1", exclude_seen=False)
    assert recommender.score("u1", ids(listed)).tolist() == [item.score for item in listed]


def test_similar_items_point_the_same_way(recommender: Recommender) -> None:
    found = recommender.similar_items("i2", 2)
    assert ids(found) == ["i3", "i0"]
    assert found[0].score == pytest.approx(0.45 / (0.5 * 0.41) ** 0.5)


def test_a_name_does_for_an_id_unless_several_have_it(recommender: Recommender) -> None:
    names = Vocabulary("item", ("i0", "i1", "i2", "i3"), ("Alien", "Twin", "Twin", "i1"))
    named = Recommender(recommender.dataset.replace(items=names), USERS, ITEMS)
    assert named.score("u0", ["Alien"]) == named.score("u0", ["i0"])
    assert named.score("u0", ["i1"]) == pytest.approx(0.9)  # an id comes before a name
    with pytest.raises(UnknownIdError, match="more than one item has the name 'Twin': 'i1', 'i2'"):
        named.similar_items("Twin")
    with pytest.raises(UnknownIdError, match="did you mean 'Alien'"):
        named.similar_items("Alienn")


def test_a_user_without_training_interactions_gets_what_is_popular() -> None:
    pairs = [(0, 1), (0, 3), (1, 3), (2, 3), (2, 1), (2, 0)]
    data = dataset(pairs, [], sizes=(4, 4, 4, 1), valid=[(3, 1)])
    recommender = Recommender(data, np.ones((4, 2), np.float32), np.eye(4, 2, dtype=np.float32))
    assert [recommender.has_history(f"u{row}") for row in range(4)] == [True, True, True, False]
    listed = recommender.recommend("u3")
    assert ids(listed) == ["i3", "i0", "i2"]  # i1 is a validation item of theirs
    assert [item.score for item in listed] == [3, 1, 0]


def test_cold_start_needs_the_run(recommender: Recommender) -> None:
    with pytest.raises(SpikeError, match=r"Use Recommender.load"):
        recommender.recommend_for_items(["i0"])
