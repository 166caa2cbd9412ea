from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spike_dgl.data.dataset import Interactions
from spike_dgl.errors import NotFiniteError
from spike_dgl.evaluation import NO_ITEM, rank
from spike_dgl.models.base import Embeddings
from spike_dgl.nn import dispatch
from tests.evaluation.problems import interactions, items_of, slow_ranking


@pytest.fixture(params=["CPU", "device"], autouse=True)
def place(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run every test as on the CPU, and with the code of other devices."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "device":
            patch.setattr(dispatch, "COMPILED_FOR", set())
        yield str(request.param)


def ranked(scores: list[list[float]], seen: Interactions, k: int, chunk_size: int = 256) -> list[list[int]]:
    table = torch.tensor(scores)
    users = torch.arange(len(scores))
    return rank(table.__getitem__, users, seen, num_items=table.shape[1], k=k, chunk_size=chunk_size).tolist()


def test_best_unseen_items_come_first() -> None:
    scores = [[0.1, 0.9, 0.5, 0.7], [4.0, 3.0, 2.0, 1.0]]
    assert ranked(scores, interactions([(0, 1), (1, 0), (1, 2)]), k=2) == [[3, 2], [1, 3]]


def test_equal_scores_are_listed_in_the_order_of_items() -> None:
    assert ranked([[1.0, 2.0, 1.0, 2.0, 1.0, 1.0]], Interactions.empty(), k=4) == [[1, 3, 0, 2]]


def test_list_ends_where_no_unseen_item_is_left() -> None:
    scores = [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    seen = interactions([(0, 1), (1, 0), (1, 1), (1, 2)])
    assert ranked(scores, seen, k=5) == [[2, 0] + [NO_ITEM] * 3, [NO_ITEM] * 5]


def test_only_the_users_asked_for_are_ranked() -> None:
    seen = interactions([(0, 0), (2, 1), (3, 0)])
    users, items = torch.eye(4)[:, :2] + 1, torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.0]])
    lists = rank(Embeddings(users, items).scores, torch.tensor([2, 0, 2]), seen, num_items=3, k=2)
    assert lists.tolist() == [[0, 2], [1, 2], [0, 2]]


def test_scores_given_stay_as_they_are() -> None:
    popularity = torch.tensor([3.0, 2.0, 1.0])
    shared = popularity.expand(2, 3)  # one row in memory: masking in place would mask for every user
    lists = rank(
        lambda users: shared[: len(users)], torch.arange(2), interactions([(0, 0)]), num_items=3, k=2
    )
    assert lists.tolist() == [[1, 2], [0, 1]]
    assert popularity.tolist() == [3.0, 2.0, 1.0]


def test_equal_scores_of_either_sign_are_listed_in_the_order_of_items() -> None:
    lists = ranked([[-1.0, -0.0, 0.0, -2.5, 1e-40, -1e-40]], Interactions.empty(), k=6)
    assert lists == [[4, 1, 2, 5, 0, 3]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_equals_sorting_each_user_whatever_the_chunks(data: st.DataObject) -> None:
    num_users, num_items = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 8))
    # Few distinct values, for many ties.
    row = st.lists(st.integers(-1, 2).map(float), min_size=num_items, max_size=num_items)
    scores = data.draw(st.lists(row, min_size=num_users, max_size=num_users))
    pair = st.tuples(st.integers(0, num_users - 1), st.integers(0, num_items - 1))
    seen = interactions(data.draw(st.lists(pair, max_size=20)))
    k, chunk_size = data.draw(st.integers(1, 10)), data.draw(st.integers(1, 6))
    lists = ranked(scores, seen, k, chunk_size)
    for user, row_scores in enumerate(scores):
        expected = slow_ranking(row_scores, items_of(seen, user), k)
        assert lists[user] == expected + [NO_ITEM] * (k - len(expected))


def test_scores_of_all_entities_instead_of_items_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected scores \(1, 3\), got \(1, 5\)"):
        rank(lambda _: torch.zeros(1, 5), torch.tensor([0]), Interactions.empty(), num_items=3, k=2)


def test_scores_that_are_not_numbers_are_refused() -> None:
    for broken in ("nan", "inf"):
        scores = torch.tensor([[0.0, float(broken), 1.0]])
        with pytest.raises(NotFiniteError, match="not a number"):
            rank(lambda _, scores=scores: scores, torch.tensor([0]), Interactions.empty(), num_items=3, k=1)


def test_no_users() -> None:
    lists = rank(
        lambda users: torch.zeros(len(users), 3),
        torch.empty(0, dtype=torch.int64),
        interactions([(0, 0)]),
        num_items=3,
        k=2,
    )
    assert lists.shape == (0, 2)
    assert lists.numpy().dtype == np.int64
