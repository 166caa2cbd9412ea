"""Signal of an informative and of an uninformative knowledge graph."""

from __future__ import annotations

import numpy as np
import pytest

from spike_dgl.data import Dataset, Interactions, Triples, Vocabulary
from spike_dgl.data.audit import audit
from spike_dgl.data.signal import Signal, knowledge_signal

USERS, ITEMS, GENRES = 80, 100, 5


def vocabulary(kind: str, size: int) -> Vocabulary:
    return Vocabulary(kind, tuple(f"{kind}{row}" for row in range(size)))


def dataset(informative: bool, num_users: int = USERS) -> Dataset:
    """Return a data set where user u has the items of genre u mod 5: ten in training, the ten others in test.

    Item i is of genre i mod 5; in the uninformative graph, it is of genre i // 20.
    """
    items = np.arange(ITEMS)
    users = np.repeat(np.arange(num_users), 10)
    first = np.concatenate([items[items % GENRES == user % GENRES][:10] for user in range(num_users)])
    last = np.concatenate([items[items % GENRES == user % GENRES][10:] for user in range(num_users)])
    genres = ITEMS + (items % GENRES if informative else items // 20)
    return Dataset(
        name="genres",
        users=vocabulary("user", num_users),
        items=vocabulary("item", ITEMS),
        entities=vocabulary("entity", ITEMS + GENRES),
        relations=vocabulary("relation", 1),
        train=Interactions.from_pairs(users, first),
        valid=Interactions.empty(),
        test=Interactions.from_pairs(users, last),
        triples=Triples.from_rows(np.stack([items, np.zeros(ITEMS, np.int64), genres], axis=1)),
    )


def measured(data: Dataset) -> Signal:
    signal = knowledge_signal(data)
    assert signal is not None
    return signal


def test_a_graph_that_knows_everything() -> None:
    signal = measured(dataset(informative=True))
    assert signal.recall == 1.0
    assert signal.random == pytest.approx(20 / 90)
    assert signal.permuted < 0.5
    assert signal.is_there


def test_a_graph_that_knows_nothing() -> None:
    data = dataset(informative=False)
    assert not measured(data).is_there
    found = next(found for found in audit(data) if found.check == "knowledge graph without signal")
    assert found.level == "warn"
    assert "recall@20 by the graph alone" in found.message.lower()


def test_a_graph_without_triples_is_no_better_than_chance() -> None:
    data = dataset(informative=True).replace(triples=Triples.from_rows(np.empty((0, 3), np.int64)))
    signal = measured(data)
    assert signal.recall == signal.permuted == pytest.approx(signal.random, abs=0.06)
    assert not signal.is_there


def test_few_users_tell_nothing() -> None:
    assert knowledge_signal(dataset(informative=True, num_users=49)) is None
