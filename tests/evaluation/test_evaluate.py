from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.config import build
from spike_dgl.data.dataset import Dataset
from spike_dgl.errors import ConfigError, SpikeError
from spike_dgl.evaluation import EvaluationOptions, evaluate
from spike_dgl.evaluation.evaluate import Split
from spike_dgl.models.base import Embeddings
from tests.evaluation.problems import items_of, problem, slow_metrics, slow_ranking

CUTOFFS = EvaluationOptions(cutoffs=(1, 3))


def test_by_hand() -> None:
    """Item scores decrease from item 0, for all users.

    user 0: items 0 and 1 are seen, list 2 3 4, relevant 2 and 4   -> recall@3 1, mrr 1
    user 1: item 0 is seen, list 1 2 3, relevant 3                 -> recall@1 0, recall@3 1, mrr 1/3
    user 2: nothing to test
    """
    data = problem(3, 5, train=[(0, 0), (1, 0), (2, 0)], valid=[(0, 1)], test=[(0, 2), (0, 4), (1, 3)])
    users, items = torch.ones(3, 1), torch.tensor([[5.0], [4.0], [3.0], [2.0], [1.0]])
    result = evaluate(Embeddings(users, items).scores, data, "test", CUTOFFS)
    assert result.users.tolist() == [0, 1]
    assert result.ranked.tolist() == [[2, 3, 4], [1, 2, 3]]
    assert result.per_user["recall@3"].tolist() == [1.0, 1.0]
    assert result.per_user["mrr@3"].tolist() == pytest.approx([1.0, 1 / 3])
    assert result.means["recall@1"] == pytest.approx((1 / 2 + 0) / 2)
    assert (result.users_without_items, result.pairs_seen_before) == (1, 0)


def test_validation_items_stay_in_the_lists_of_validation_and_leave_those_of_the_test() -> None:
    data = problem(1, 3, train=[(0, 0)], valid=[(0, 1)], test=[(0, 2)])
    users, items = torch.ones(1, 1), torch.tensor([[3.0], [2.0], [1.0]])
    assert evaluate(Embeddings(users, items).scores, data, "valid", CUTOFFS).ranked.tolist() == [[1, 2, -1]]
    assert evaluate(Embeddings(users, items).scores, data, "test", CUTOFFS).ranked.tolist() == [[2, -1, -1]]


def test_pairs_that_also_stand_in_training_do_not_count_as_misses() -> None:
    data = problem(2, 4, train=[(0, 0), (1, 1)], valid=[(0, 3)], test=[(0, 0), (0, 2), (0, 3), (1, 1)])
    users, items = torch.ones(2, 1), torch.tensor([[4.0], [3.0], [2.0], [1.0]])
    result = evaluate(Embeddings(users, items).scores, data, "test", CUTOFFS)
    assert result.pairs_seen_before == 3
    assert result.users.tolist() == [0]
    assert result.users_without_items == 1
    assert result.means["recall@3"] == 1.0


def test_user_who_has_seen_everything_is_left_out() -> None:
    data = problem(2, 2, train=[(0, 0), (0, 1)], valid=[], test=[(0, 0), (1, 1)])
    result = evaluate(Embeddings(torch.ones(2, 1), torch.ones(2, 1)).scores, data, "test", CUTOFFS)
    assert result.users.tolist() == [1]


def test_the_filling_of_short_lists_is_no_hit() -> None:
    """User 1 has one unseen item, a miss in validation; -1 must not be taken as the last item of user 0."""
    data = problem(2, 2, train=[(1, 0)], valid=[(0, 1), (1, 1)], test=[])
    result = evaluate(Embeddings(torch.ones(2, 1), torch.ones(2, 1)).scores, data, "valid", CUTOFFS)
    assert result.per_user["precision@3"].tolist() == pytest.approx([1 / 3, 1 / 3])


@st.composite
def problems(draw: st.DrawFn) -> tuple[Dataset, list[list[float]]]:
    num_users, num_items = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    pair = st.tuples(st.integers(0, num_users - 1), st.integers(0, num_items - 1))
    some = st.lists(pair, max_size=12)  # repeated pairs and pairs in several splits included
    row = st.lists(st.integers(0, 2).map(float), min_size=num_items, max_size=num_items)
    scores = draw(st.lists(row, min_size=num_users, max_size=num_users))
    return problem(num_users, num_items, draw(some), draw(some), draw(some)), scores


@given(problems(), st.integers(1, 4), st.sampled_from(["valid", "test"]))
def test_equals_the_slow_way(
    problem: tuple[Dataset, list[list[float]]], chunk_size: int, split: Split
) -> None:
    data, scores = problem
    options = EvaluationOptions(cutoffs=(1, 3, 9), chunk_size=chunk_size)
    expected: dict[int, dict[str, float]] = {}
    for user in range(data.num_users):
        seen = items_of(data.train, user) | (items_of(data.valid, user) if split == "test" else set())
        relevant = items_of(getattr(data, split), user) - seen
        if relevant:
            ranked = slow_ranking(scores[user], seen, 9)
            expected[user] = {
                name: value
                for k in options.cutoffs
                for name, value in slow_metrics(ranked, relevant, k, longest=9).items()
            }
    score = torch.tensor(scores).__getitem__
    if not expected:
        with pytest.raises(SpikeError, match=f"no {split} pair"):
            evaluate(score, data, split, options)
        return
    result = evaluate(score, data, split, options)
    assert result.users.tolist() == list(expected)
    assert result.users_without_items == data.num_users - len(expected)
    for row, user in enumerate(expected):
        assert {name: values[row] for name, values in result.per_user.items()} == pytest.approx(
            expected[user]
        )
    for name, mean in result.means.items():
        assert mean == pytest.approx(np.mean([of_user[name] for of_user in expected.values()]))


def test_settings_are_checked() -> None:
    assert build(EvaluationOptions, {"cutoffs": [5]}, "evaluation").cutoffs == (5,)


@pytest.mark.parametrize("broken", [{"cutoffs": []}, {"cutoffs": [0]}, {"cutoffs": 20}, {"chunk_size": 0}])
def test_broken_settings_are_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"evaluation\."):
        build(EvaluationOptions, broken, "evaluation")


def read_pairs(file: Path) -> list[tuple[int, int]]:
    rows = [list(map(int, line.split())) for line in file.read_text().splitlines()]
    return [(row[0], item) for row in rows for item in row[1:]]


def test_popularity_reaches_its_known_score_on_real_data(shared_data: Path) -> None:
    """An untrained baseline evaluated with this code; 0.125 was measured with other software."""
    train, test = (read_pairs(shared_data / "lastfm" / f"{part}.txt") for part in ("train", "test"))
    data = problem(1859, 2813, train, [], test)
    popularity = torch.from_numpy(np.bincount(data.train.items, minlength=data.num_items)).float()
    result = evaluate(lambda users: popularity.expand(len(users), -1), data, "test")
    assert result.means["recall@20"] == pytest.approx(0.125, abs=0.001)
