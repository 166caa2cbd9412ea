"""Lists by raw id: right order, seen items left out, and one user's list whatever the company."""

from __future__ import annotations

import numpy as np
import pytest

from spike_dgl.errors import UnknownIdError
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
