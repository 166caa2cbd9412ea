"""Hidden users and items are removed completely; the others keep their ids, facts and texts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.data.dataset import Dataset, NodeTexts, NodeVectors
from spike_dgl.data.hiding import hide
from spike_dgl.data.options import DataOptions, load
from tests.toy import random_dataset

SHARES, SEEDS = st.floats(0, 0.9), st.integers(0, 2**32)


def facts(dataset: Dataset) -> set[tuple[str, str, str]]:
    triples, ids = dataset.triples, dataset.entities.ids
    rows = zip(triples.heads, triples.relations, triples.tails, strict=True)
    return {(ids[head], dataset.relations.ids[relation], ids[tail]) for head, relation, tail in rows}


def pairs(dataset: Dataset) -> set[tuple[str, str]]:
    rows = zip(dataset.train.users, dataset.train.items, strict=True)
    return {(dataset.users.ids[user], dataset.items.ids[item]) for user, item in rows}


def full_dataset() -> Dataset:
    dataset = random_dataset(2)
    vectors = [np.arange(n, dtype=np.float32)[:, None] for n in (dataset.num_users, dataset.num_entities)]
    texts = NodeTexts({0: "u0", 3: "u3"}, {row: f"e{row}" for row in range(dataset.num_entities)})
    return dataset.replace(profiles=texts, vectors=NodeVectors(*vectors))


@given(SHARES, SHARES, SEEDS)
def test_what_stays_is_what_does_not_touch_the_hidden(users: float, items: float, seed: int) -> None:
    whole = full_dataset()
    left = hide(whole, users, items, seed)
    assert abs(left.num_users - (1 - users) * whole.num_users) <= 0.5
    assert abs(left.num_items - (1 - items) * whole.num_items) <= 0.5
    assert left.entities.ids[left.num_items :] == whole.entities.ids[whole.num_items :]
    assert facts(left) == {fact for fact in facts(whole) if {fact[0], fact[2]} <= set(left.entities.ids)}
    assert pairs(left) == {pair for pair in pairs(whole) if pair[0] in left.users and pair[1] in left.items}


@given(SHARES, SEEDS)
def test_texts_and_vectors_follow_their_nodes(share: float, seed: int) -> None:
    left = hide(full_dataset(), share, 0.0, seed)
    assert all(left.users.ids[row] == text for row, text in left.profiles.users.items())
    assert left.vectors is not None
    assert [f"u{int(value)}" for value in left.vectors.users[:, 0]] == list(left.users.ids)
    left = hide(full_dataset(), share, share, seed)
    assert [left.profiles.entities[row] for row in range(left.num_entities)] == list(left.entities.ids)
    assert left.vectors is not None
    assert [f"e{int(value)}" for value in left.vectors.entities[:, 0]] == list(left.entities.ids)


def test_settings_hide_and_say_so() -> None:
    data = load(DataOptions(hidden_users=0.2, hidden_items=0.1))
    whole = load(DataOptions())
    assert (whole.num_users - data.num_users, whole.num_items - data.num_items) == (120, 196)
    assert "120 random users and 196 random items are removed" in data.altered[0]
