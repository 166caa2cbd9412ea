"""Calibration of new items: places in lists, by counting them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spike_dgl.data.dataset import Dataset, Interactions, Triples
from spike_dgl.models.calibration import CalibratedFoldIn, Places
from spike_dgl.models.fold_in import FoldIn, LinearFoldIn, NewItems
from spike_dgl.typing import FloatArray
from tests.toy import random_dataset

DATA = random_dataset(3, sizes=(40, 120, 140, 2), density=900)
COUNTS = np.bincount(DATA.train.items, minlength=DATA.num_items)
ROWS = np.flatnonzero(COUNTS)
LENGTH = 6
"""Length of a list: a twentieth of 120 items."""
RANDOM = np.random.default_rng(0)


def table(rows: int, last: Any) -> FloatArray:
    """Return random embeddings [rows, 8] with the given last dimension, which is the popularity of items."""
    embeddings: FloatArray = RANDOM.normal(size=(rows, 8)).astype(np.float32)
    embeddings[:, -1] = last
    return embeddings


USERS, ITEMS = table(DATA.num_users, 1.0), table(DATA.num_items, 4.0 * np.log1p(COUNTS))


class WithoutPopularity(FoldIn):
    """Fold-in that embeds training items, given by `NewItems.rows`, as half their embeddings, without popularity."""

    def with_items(self, new: NewItems) -> tuple[FoldIn, FloatArray]:
        return self, without_popularity(0.5)[new.rows]

    def users_of_items(self, histories: Any) -> FloatArray:
        return USERS[: len(histories)]

    def users_of_profiles(self, vectors: FloatArray) -> FloatArray:
        return USERS[: len(vectors)]


def without_popularity(scale: float) -> FloatArray:
    embedded: FloatArray = scale * ITEMS
    embedded[:, -1] = 0.0
    return embedded


def places(embedded: FloatArray) -> int:
    """Count how often items with users are not behind the last place of a list of unseen trained items."""
    unseen = np.ones((DATA.num_users, DATA.num_items), bool)
    unseen[DATA.train.users, DATA.train.items] = False
    last = np.sort(np.where(unseen, USERS @ ITEMS.T, -np.inf), axis=1)[:, -LENGTH]
    return int(((last[:, None] - 1e-5 < USERS @ embedded.T) & unseen[:, ROWS]).sum())


@pytest.mark.parametrize("scale", [0.3, 0.6, 1.0])
def test_items_treated_as_new_have_as_many_places_as_trained_ones(scale: float) -> None:
    embedded = without_popularity(scale)[ROWS]
    lift = Places(DATA, USERS, ITEMS).lift(ROWS, embedded)
    expected = LENGTH * DATA.num_users
    assert places(embedded) < expected
    assert places(embedded + lift) == pytest.approx(expected, abs=3)
    assert lift[-1] > 3 * np.abs(lift[:-1]).max()  # the last dimension is popularity


def test_a_lift_is_at_most_the_popularity_of_the_most_popular_item() -> None:
    far = without_popularity(1.0)[ROWS] - 100.0 * USERS.mean(axis=0)
    lift = Places(DATA, USERS, ITEMS).lift(ROWS, far)
    np.testing.assert_allclose(lift[-1], 4.0 * np.log1p(COUNTS.max()), rtol=1e-3)


def test_there_is_no_lift_without_evidence() -> None:
    """Popularity does not vary, or the items have more than their places already."""
    equally = Interactions(np.arange(DATA.num_items) % DATA.num_users, np.arange(DATA.num_items))
    level = DATA.replace(train=Interactions.from_pairs(equally.users, equally.items))
    assert not Places(level, USERS, ITEMS).lift(ROWS, without_popularity(0.3)[ROWS]).any()
    ahead = ITEMS[ROWS] + 100.0 * USERS.mean(axis=0)
    assert not Places(DATA, USERS, ITEMS).lift(ROWS, ahead).any()


def calibrated(dataset: Dataset) -> CalibratedFoldIn:
    linear = LinearFoldIn.fit(dataset, USERS, ITEMS, {})
    return CalibratedFoldIn.fit(WithoutPopularity(), lambda: linear, dataset, USERS, {})


def test_embeddings_come_back_to_the_scale_of_trained_ones_and_users_stay() -> None:
    fold_in = calibrated(DATA)
    of_embedding = fold_in.calibrations()[True, False].of_embedding
    assert of_embedding is not None
    restored = of_embedding.predict(without_popularity(0.5)[ROWS])
    np.testing.assert_allclose(restored[:, :-1], ITEMS[ROWS, :-1], atol=0.05)
    np.testing.assert_array_equal(fold_in.users_of_items([np.array([1])]), USERS[:1])
    assert set(fold_in.calibrations()) == {(True, False)}  # no training item has a text


def test_items_of_a_kind_that_training_items_are_not_stay_as_the_fold_in_embeds_them() -> None:
    nothing, rows = np.empty(0, np.int64), np.array([4, 5])
    new = NewItems(2, nothing, nothing, nothing, None, rows)
    fold_in = calibrated(DATA.replace(triples=Triples.from_rows(np.empty((0, 3)))))
    assert not fold_in.calibrations()
    np.testing.assert_array_equal(fold_in.with_items(new)[1], without_popularity(0.5)[rows])


def test_the_models_own_dimensions_keep_length_one_beside_those_of_a_term() -> None:
    users, items = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (USERS, ITEMS))
    term = np.linspace(-0.3, 0.3, len(items), dtype=np.float32)[:, None]
    joined = np.hstack([users, np.ones_like(users[:, :1])]), np.hstack([items, term])
    linear = LinearFoldIn.fit(DATA, *joined, {}, own=items.shape[1])
    for embedded in (linear.items_of(linear.near, None), linear.at_unit_length(2.0 * joined[1])):
        np.testing.assert_allclose(np.linalg.norm(embedded[:, :-1], axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(linear.at_unit_length(2.0 * joined[1])[:, -1:], 2.0 * term)
    assert LinearFoldIn.fit(DATA, *joined, {}).unit_dims == 0


def test_the_calibration_is_computed_once_when_the_first_items_are_added() -> None:
    calls = []

    class Counted(WithoutPopularity):
        def with_items(self, new: NewItems) -> tuple[FoldIn, FloatArray]:
            calls.append(new.number)
            return super().with_items(new)

    linear = LinearFoldIn.fit(DATA, USERS, ITEMS, {})
    fold_in = CalibratedFoldIn.fit(Counted(), lambda: linear, DATA, USERS, {})
    fold_in.users_of_items([np.array([1])])
    assert not calls
    nothing = np.empty(0, np.int64)
    new = NewItems(1, nothing, nothing, nothing, None, np.array([4]))
    grown, _ = fold_in.with_items(new)
    grown.with_items(new)
    assert sorted(calls) == [1, 1, len(ROWS)]  # both additions, and all items with users once
