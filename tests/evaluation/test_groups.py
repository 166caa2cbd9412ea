from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spike_dgl.data.dataset import Dataset, NodeTexts
from spike_dgl.evaluation import (
    Evaluation,
    EvaluationOptions,
    by_item_popularity,
    by_item_source,
    by_text_length,
    by_user_activity,
    by_user_source,
    evaluate,
    render,
    render_groups,
)
from spike_dgl.models.base import Embeddings
from spike_dgl.profiles.records import ProfileSources
from tests.evaluation.problems import problem


@pytest.fixture
def tiny() -> tuple[Evaluation, Dataset]:
    """Four users, six items; everyone's list is the unseen items in ascending order.

    Training: users 0 and 1 have 1 item, user 2 has 2, user 3 has 3. Item 0 has 4 users, item 1 two, item 2
    one; items 3, 4, 5 are cold. Test: each user has items 2, 3 and 5, as far as unseen.
    """
    train = [(0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    test = [(user, item) for user in range(4) for item in (2, 3, 5) if (user, item) != (3, 2)]
    data = problem(4, 6, train, [], test)
    scores = -torch.arange(6.0).unsqueeze(1)
    return evaluate(
        Embeddings(torch.ones(4, 1), scores).scores, data, "test", EvaluationOptions(cutoffs=(2,))
    ), data


def test_users_by_activity(tiny: tuple[Evaluation, Dataset]) -> None:
    evaluation, data = tiny
    table = by_user_activity(evaluation, data, cutoff=2, num_groups=2)
    assert [(group.label, group.sizes["users"]) for group in table.groups] == [
        ("1 training item", 2),
        ("2-3 training items", 2),
    ]
    # Lists: user 0 and 1 "1 2", user 2 "2 3", user 3 "3 4".
    assert table.groups[0].means["recall@2"] == pytest.approx(1 / 3)
    assert table.groups[1].means["recall@2"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_items_by_popularity(tiny: tuple[Evaluation, Dataset]) -> None:
    evaluation, data = tiny
    table = by_item_popularity(evaluation, data, cutoff=2, num_groups=2)
    assert [(group.label, group.sizes) for group in table.groups] == [
        ("cold: no training user", {"items": 3, "users": 4}),
        ("1-2 training users", {"items": 2, "users": 3}),
        ("4 training users", {"items": 1, "users": 0}),
    ]
    cold, rare, popular = (group.means for group in table.groups)
    # Of the cold items 3 and 5, item 3 is at rank 2 for user 2 and at rank 1 for user 3.
    assert cold["recall@2"] == pytest.approx((0 + 0 + 1 / 2 + 1 / 2) / 4)
    ideal = 1 + 1 / math.log2(3)
    assert cold["ndcg@2"] == pytest.approx((1 / math.log2(3) + 1) / ideal / 4)
    # Item 2 is at rank 2 for users 0 and 1, and at rank 1 for user 2.
    assert rare == pytest.approx({"recall@2": 1.0, "ndcg@2": (2 / math.log2(3) + 1) / 3})
    assert popular == {}


def test_items_by_length_of_text(tiny: tuple[Evaluation, Dataset]) -> None:
    evaluation, data = tiny
    # Items 0 and 1 have one word, of a description; item 2 has three, of a profile.
    data = data.replace(
        profiles=NodeTexts(entities={2: "a long text"}),
        descriptions=NodeTexts(entities={0: "short", 1: "short", 2: "not this"}),
    )
    table = by_text_length(evaluation, data, cutoff=2, num_groups=2)
    assert [(group.label, group.sizes) for group in table.groups] == [
        ("no text", {"items": 3, "users": 4}),
        ("1 word", {"items": 2, "users": 0}),
        ("3 words", {"items": 1, "users": 3}),
    ]
    assert table.groups[2].means["recall@2"] == 1.0
    shown = render_groups(evaluation, data, sources(["template"] * 4, ["template"] * 6))
    assert "By length of the item's text" in shown


def test_item_groups_hold_about_equal_shares_of_the_training_interactions() -> None:
    rng = np.random.default_rng(0)
    pairs = {(user, min(int(rng.exponential(12)), 79)) for user in range(200) for _ in range(20)}
    data = problem(200, 80, pairs, [], [(0, 79), (1, 3)])
    table = by_item_popularity(
        evaluate(Embeddings(torch.ones(200, 1), torch.ones(80, 1)).scores, data, "test"), data
    )
    counts = np.bincount(data.train.items, minlength=80)
    ranges = [group.label.split()[0].split("-") for group in table.groups if "cold" not in group.label]
    shares = [counts[(counts >= int(low[0])) & (counts <= int(low[-1]))].sum() for low in ranges]
    assert len(ranges) == 4
    assert sum(shares) == len(data.train)
    assert all(share == pytest.approx(len(data.train) / 4, rel=0.25) for share in shares)
    assert sum(group.sizes["items"] for group in table.groups) == 80


def test_user_groups_are_about_equal_and_cover_everyone() -> None:
    train = [(user, item) for user in range(100) for item in range(user // 4)]
    data = problem(100, 50, train, [], [(user, 49) for user in range(100)])
    table = by_user_activity(
        evaluate(Embeddings(torch.ones(100, 1), torch.ones(50, 1)).scores, data, "test"), data
    )
    assert [group.label for group in table.groups] == [
        "0-5 training items",
        "6-11 training items",
        "12-18 training items",
        "19-24 training items",
    ]
    assert sum(group.sizes["users"] for group in table.groups) == 100


def test_table_reads_well(tiny: tuple[Evaluation, Dataset]) -> None:
    evaluation, data = tiny
    assert render(by_item_popularity(evaluation, data, cutoff=2, num_groups=2)).splitlines() == [
        "| By popularity of items | items | users | recall@2 | ndcg@2 |",
        "| ---------------------- | ----: | ----: | -------: | -----: |",
        "| cold: no training user |     3 |     4 |   0.2500 | 0.2500 |",
        "| 1-2 training users     |     2 |     3 |   1.0000 | 0.7540 |",
        "| 4 training users       |     1 |     0 |        - |      - |",
    ]


def test_by_source_of_the_profiles_of_users_and_items(tiny: tuple[Evaluation, Dataset]) -> None:
    evaluation, _ = tiny
    users = by_user_source(evaluation, np.array(["llm:m", "llm:m", "template", "template"]), cutoff=2)
    assert [(group.label, group.sizes) for group in users.groups] == [
        ("llm:m", {"users": 2}),
        ("template", {"users": 2}),
    ]
    assert users.groups[0].means["recall@2"] == pytest.approx(1 / 3)
    assert users.groups[1].means["recall@2"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    items = by_item_source(evaluation, np.array(["none", "llm:m", "llm:m", "none", "none", "none"]), cutoff=2)
    assert [(group.label, group.sizes) for group in items.groups] == [
        ("llm:m", {"items": 2, "users": 3}),
        ("none", {"items": 4, "users": 4}),
    ]
    assert items.groups[0].means["recall@2"] == pytest.approx(1.0)
    assert items.groups[1].means["recall@2"] == pytest.approx((0 + 0 + 1 / 2 + 1 / 2) / 4)


def sources(users: list[str], items: list[str]) -> ProfileSources:
    return ProfileSources(np.array(users), np.array(items))


def test_all_tables_are_shown_at_a_cutoff_the_evaluation_has(tiny: tuple[Evaluation, Dataset]) -> None:
    shown = render_groups(*tiny, sources(["template", "none"] * 2, ["template", "given"] * 3))
    assert "By activity of users" in shown
    assert "By popularity of items" in shown
    assert "By profile of the user" in shown
    assert "By profile of the item" in shown
    assert "recall@2 " in shown


def test_one_source_for_all_needs_no_table(tiny: tuple[Evaluation, Dataset]) -> None:
    assert "By profile" not in render_groups(*tiny, sources(["template"] * 4, ["template"] * 6))
