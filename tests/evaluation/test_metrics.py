from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from spike_dgl.evaluation import METRICS, RankingMetrics, metric_names

DISCOUNT = [1 / math.log2(place + 1) for place in range(1, 5)]


def values(hits: list[list[int]], relevant: list[int], cutoffs: list[int]) -> dict[str, list[float]]:
    metrics = RankingMetrics(cutoffs)
    metrics.update(torch.tensor(hits, dtype=torch.bool), torch.tensor(relevant))
    return {name: user_values.tolist() for name, user_values in metrics.compute().items()}


def test_by_hand() -> None:
    """Relevant items are at ranks 2 and 4 of 4; the user has 3 relevant items."""
    by_hand = {
        "recall@2": 1 / 3,
        "recall@4": 2 / 3,
        "precision@2": 1 / 2,
        "precision@4": 2 / 4,
        "hit@2": 1.0,
        "hit@4": 1.0,
        "mrr@2": 1 / 2,
        "mrr@4": 1 / 2,
        "ndcg@2": DISCOUNT[1] / (DISCOUNT[0] + DISCOUNT[1]),
        "ndcg@4": (DISCOUNT[1] + DISCOUNT[3]) / (DISCOUNT[0] + DISCOUNT[1] + DISCOUNT[2]),
        # Both hits count in the ideal list at cutoff 2, although one of them is at rank 4.
        "kgat_ndcg@2": DISCOUNT[1] / (DISCOUNT[0] + DISCOUNT[1]),
        "kgat_ndcg@4": (DISCOUNT[1] + DISCOUNT[3]) / (DISCOUNT[0] + DISCOUNT[1]),
    }
    computed = {name: user_values[0] for name, user_values in values([[0, 1, 0, 1]], [3], [2, 4]).items()}
    assert computed == pytest.approx(by_hand)


def test_a_list_without_hits_scores_nothing() -> None:
    assert all(of_users == [0.0] for of_users in values([[0, 0, 0]], [2], [1, 3]).values())


def test_a_perfect_list_scores_one_even_with_more_relevant_items_than_places() -> None:
    computed = values([[1, 1]], [5], [2])
    assert computed["ndcg@2"] == [1.0]
    assert computed["recall@2"] == [2 / 5]


def test_kgat_ndcg_forgives_what_was_not_found() -> None:
    computed = values([[1, 0, 0]], [100], [3])
    assert computed["kgat_ndcg@3"] == [1.0]
    assert computed["ndcg@3"][0] < 0.5


@st.composite
def lists_of_hits(draw: st.DrawFn) -> tuple[list[list[int]], list[int]]:
    length = draw(st.integers(1, 8))
    row = st.lists(st.integers(0, 1), min_size=length, max_size=length)
    hits = draw(st.lists(row, min_size=1, max_size=5))
    relevant = [max(1, sum(row)) + draw(st.integers(0, 9)) for row in hits]
    return hits, relevant


@given(lists_of_hits())
def test_ndcg_equals_scikit_learn(problem: tuple[list[list[int]], list[int]]) -> None:
    hits, relevant = problem
    length = len(hits[0])
    for k in range(1, length + 1):
        computed = values(hits, relevant, [k])[f"ndcg@{k}"]
        for row, count, value in zip(hits, relevant, computed, strict=True):
            # Relevant items that were not found are appended to the list, and one irrelevant item, since
            # scikit-learn needs at least two items.
            truth = [*row, *[1] * (count - sum(row)), 0]
            scores = np.arange(len(truth))[::-1]
            assert value == pytest.approx(ndcg_score([truth], [scores], k=k))


@given(lists_of_hits())
def test_all_metrics_are_shares_and_kgat_is_never_below_ndcg(
    problem: tuple[list[list[int]], list[int]],
) -> None:
    hits, relevant = problem
    cutoffs = sorted({1, len(hits[0])})
    computed = values(hits, relevant, cutoffs)
    assert all(0.0 <= value <= 1.0 + 1e-12 for user_values in computed.values() for value in user_values)
    for k in cutoffs:
        pairs = zip(computed[f"kgat_ndcg@{k}"], computed[f"ndcg@{k}"], strict=True)
        assert all(inflated >= honest for inflated, honest in pairs)


def test_portions_add_up() -> None:
    hits, relevant = torch.tensor([[True, False], [False, False], [True, True]]), torch.tensor([1, 2, 3])
    whole, portions = RankingMetrics([1, 2]), RankingMetrics([1, 2])
    whole.update(hits, relevant)
    portions.update(hits[:1], relevant[:1])
    portions.update(hits[1:], relevant[1:])
    assert portions.means() == whole.means()
    assert whole.means()["recall@2"] == pytest.approx((1 + 0 + 2 / 3) / 3)


def test_names_cover_every_metric_and_cutoff() -> None:
    assert list(values([[1, 0]], [1], [1, 2])) == metric_names([1, 2])
    assert len(metric_names([1, 2])) == 2 * len(METRICS)


def test_users_without_relevant_items_are_refused() -> None:
    with pytest.raises(ValueError, match="without a relevant item"):
        values([[0]], [0], [1])


def test_lists_shorter_than_the_cutoff_are_refused() -> None:
    with pytest.raises(ValueError, match="2 items"):
        values([[0, 1]], [1], [3])
