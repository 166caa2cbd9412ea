"""Coverage, novelty, diversity and popularity bias: by hand, against a slow form, and at the limits."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import mean

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spike_dgl.data.dataset import Dataset
from spike_dgl.evaluation import BEYOND_ACCURACY, EvaluationOptions, evaluate
from spike_dgl.evaluation import beyond_accuracy as module
from tests.toy import dataset

Facts = list[tuple[int, int, int]]


def problem(train: list[tuple[int, int]], facts: Facts, *, num_users: int = 4, num_items: int = 5) -> Dataset:
    return dataset(train, facts, sizes=(num_users, num_items, num_items + 4, 2))


TRAIN = [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1), (2, 2)]
"""Items 0 to 4 have 4, 2, 1, 0 and 0 of 4 users."""
FACTS = [(0, 0, 5), (0, 0, 6), (1, 0, 5), (1, 1, 6), (2, 0, 5), (6, 0, 1)]
"""Facts of items 0, 1 and 2: {(0, 5), (0, 6)}, {(0, 5), (1, 6)}, {(0, 5)}; the last triple is of no item."""
LISTS = np.array([[0, 1, 2], [1, 0, 3], [2, 3, -1]])


def test_by_hand() -> None:
    vectors = np.array([[1, 0], [0, 2], [3, 3], [0, 0], [0, 0]], dtype=np.float32)
    found = module.beyond_accuracy(LISTS, problem(TRAIN, FACTS), [2, 3], vectors)
    half = math.sqrt(0.5)
    assert found == pytest.approx(
        {
            "coverage@2": 4 / 5,
            "coverage@3": 4 / 5,
            # Shares of the users who know items 0 to 3: 1, 1/2, 1/4, and 1/4 for the item without users.
            "novelty@2": mean([(0 + 1) / 2, (1 + 0) / 2, (2 + 2) / 2]),
            "novelty@3": mean([(0 + 1 + 2) / 3, (1 + 0 + 2) / 3, (2 + 2) / 2]),
            # Cosines of items 0, 1 and 2 are 0, half and half; item 3 has no profile.
            "profile_diversity@2": 1.0,
            "profile_diversity@3": mean([mean([1, 1 - half, 1 - half]), 1]),
            # Jaccard indices are 1/3 (0 and 1), 1/2 (0 and 2) and 1/2 (1 and 2); item 3 has no facts.
            "fact_diversity@2": 2 / 3,
            "fact_diversity@3": mean([mean([2 / 3, 1 / 2, 1 / 2]), 2 / 3]),
            "mean_popularity@2": mean([3, 3, 1 / 2]),
            "mean_popularity@3": mean([7 / 3, 2, 1 / 2]),
            # Numbers of lists of the items: 0 1 1 2 2 and 0 2 2 2 2, weighted by -4 -2 0 2 4 over 4.
            "gini@2": (-2 * 1 + 2 * 2 + 4 * 2) / 6 / 4,
            "gini@3": (-2 * 2 + 2 * 2 + 4 * 2) / 8 / 4,
        }
    )


def test_evaluations_have_them_with_profile_diversity_if_there_are_vectors() -> None:
    data = dataset(TRAIN, FACTS, sizes=(4, 5, 9, 2), test=[(3, 2), (3, 3)])
    scores = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])
    evaluation = evaluate(
        lambda users: scores.expand(len(users), -1), data, "test", EvaluationOptions((2, 4))
    )
    assert evaluation.ranked.tolist() == [[1, 2, 3, 4]]
    found = evaluation.beyond_accuracy(data)
    assert set(found) == {f"{name}@{k}" for name in BEYOND_ACCURACY if name[0] != "p" for k in (2, 4)}
    assert found["fact_diversity@2"] == pytest.approx(1 / 2)
    vectors = np.eye(5, dtype=np.float32)
    assert evaluation.beyond_accuracy(data, vectors)["profile_diversity@4"] == pytest.approx(1.0)
    assert not {*evaluation.means} & {*found}


def test_one_list_for_all_users_is_least_equal_and_the_whole_catalogue_most() -> None:
    data = problem(TRAIN, [])
    same, all_items = np.array([[2]] * 4), np.array([[0], [1], [2], [3], [4]])
    assert module.beyond_accuracy(same, data, [1])["gini@1"] == pytest.approx(1.0)
    assert module.beyond_accuracy(all_items, data, [1])["gini@1"] == pytest.approx(0.0)
    assert module.beyond_accuracy(all_items, data, [1])["coverage@1"] == 1.0


def test_without_pairs_to_compare_there_is_no_diversity() -> None:
    data = problem(TRAIN, [(0, 0, 5)])
    zeros = np.zeros((5, 3), np.float32)
    assert not any("diversity" in name for name in module.beyond_accuracy(LISTS, data, [3], zeros))
    only_item = problem([(0, 0)], [], num_items=1)
    assert module.beyond_accuracy(np.array([[0]]), only_item, [1])["gini@1"] == 0.0


def test_the_cost_of_diversity_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = problem(TRAIN, FACTS)
    long = np.pad(LISTS, ((0, 0), (0, 98)), constant_values=-1)
    found = module.beyond_accuracy(long, data, [100, 101])
    assert "fact_diversity@100" in found
    assert "fact_diversity@101" not in found
    assert found["coverage@101"] == 4 / 5
    monkeypatch.setattr(module, "DIVERSE_LISTS", 1)
    sampled = module.beyond_accuracy(LISTS[:2], data, [3])
    assert sampled["fact_diversity@3"] in [
        pytest.approx(5 / 9),
        pytest.approx(2 / 3),
    ]  # of one list or the other
    assert sampled["coverage@3"] == 4 / 5


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, Dataset, np.ndarray]:
    num_users, num_items = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    pairs = st.tuples(st.integers(0, num_users - 1), st.integers(0, num_items - 1))
    fact = st.tuples(st.integers(0, num_items - 1), st.integers(0, 1), st.integers(num_items, num_items + 3))
    facts = draw(st.lists(fact, max_size=12))
    orders = draw(st.lists(st.permutations(range(num_items)), min_size=1, max_size=5))
    lengths = [draw(st.integers(1, num_items)) for _ in orders]
    length = max(lengths)
    ranked = [[*order[:size], *[-1] * (length - size)] for order, size in zip(orders, lengths, strict=True)]
    row = st.lists(st.integers(-2, 2), min_size=3, max_size=3)
    vectors = np.array([draw(row) for _ in range(num_items)], dtype=np.float32)
    data = problem(draw(st.lists(pairs, max_size=10)), facts, num_users=num_users, num_items=num_items)
    return np.array(ranked), data, vectors


def slow(ranked: np.ndarray, data: Dataset, vectors: np.ndarray, k: int) -> dict[str, float]:
    lists = [[item for item in row[:k].tolist() if item >= 0] for row in ranked]
    users = np.bincount(data.train.items, minlength=data.num_items).tolist()
    rows = zip(*(column.tolist() for column in vars(data.triples).values()), strict=True)
    facts = {item: set[tuple[int, int]]() for item in range(data.num_items)}
    for head, relation, tail in rows:
        facts[head].add((relation, tail))
    exposure = sorted(sum(item in items for items in lists) for item in facts)
    between = sum(abs(one - other) for one, other in combinations(exposure, 2))

    def cosine(one: int, other: int) -> float:
        a, b = vectors[one].astype(float), vectors[other].astype(float)
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    def jaccard(one: int, other: int) -> float:
        return len(facts[one] & facts[other]) / len(facts[one] | facts[other])

    def diversity(known: set[int], similarity) -> float | None:
        pairs = [list(combinations([item for item in items if item in known], 2)) for items in lists]
        return (
            mean(mean(1 - similarity(*pair) for pair in some) for some in pairs if some)
            if any(pairs)
            else None
        )

    found = {
        "coverage": len(set().union(*lists)) / data.num_items,
        "novelty": mean(
            mean(math.log2(data.num_users / max(users[item], 1)) for item in items) for items in lists
        ),
        "profile_diversity": diversity({item for item in facts if vectors[item].any()}, cosine),
        "fact_diversity": diversity({item for item in facts if facts[item]}, jaccard),
        "mean_popularity": mean(mean(users[item] for item in items) for items in lists),
        # Half the relative mean difference, over n - 1 in place of n.
        "gini": between / (sum(exposure) * (data.num_items - 1)) if data.num_items > 1 else 0.0,
    }
    return {f"{name}@{k}": value for name, value in found.items() if value is not None}


@settings(max_examples=60)
@given(problems(), st.integers(1, 6))
def test_equals_the_slow_way_and_keeps_its_range(
    problem: tuple[np.ndarray, Dataset, np.ndarray], items_at_once: int
) -> None:
    ranked, data, vectors = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ITEMS_AT_ONCE", items_at_once)
        for k in {1, ranked.shape[1]}:
            found = module.beyond_accuracy(ranked, data, [k], vectors)
            assert found == pytest.approx(slow(ranked, data, vectors, k), abs=1e-6)  # vectors are float32
            assert 0 < found[f"coverage@{k}"] <= 1
            assert -1e-9 <= found[f"gini@{k}"] <= 1 + 1e-9
            assert 0 <= found[f"novelty@{k}"] <= math.log2(data.num_users)
            assert 0 <= found.get(f"fact_diversity@{k}", 0) <= 1 + 1e-9
            assert -1e-6 <= found.get(f"profile_diversity@{k}", 0) <= 2 + 1e-6
