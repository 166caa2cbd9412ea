"""Embedding files: rows match the ids, and inner products are the scores."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from spike_dgl.data.dataset import Vocabulary
from spike_dgl.errors import DataError, SpikeError
from spike_dgl.recommend import Recommender
from spike_dgl.recommend.embedding_files import write_embeddings
from tests.toy import random_dataset


@pytest.fixture
def recommender() -> Recommender:
    random = np.random.default_rng(0)
    data = random_dataset(0)
    names = tuple(f'film "{row}",\nor so' for row in range(9))
    users, items = (random.normal(size=(size, 4)).astype(np.float32) for size in (7, 9))
    return Recommender(data.replace(items=Vocabulary("item", data.items.ids, names)), users, items)


def test_products_of_rows_are_the_scores_of_their_ids(recommender: Recommender, tmp_path: Path) -> None:
    folder = tmp_path / "above" / "index"
    write_embeddings(recommender, folder)
    ids = {}
    for side, known in (("users", recommender.users), ("items", recommender.items)):
        with (folder / f"{side}.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        ids[side] = [row["id"] for row in rows]
        assert [row["name"] for row in rows] == list(known.names)
    users, items = (np.load(folder / f"{side}.npy") for side in ("users", "items"))
    assert users.dtype == items.dtype == np.float32
    for user, products in zip(ids["users"], users @ items.T, strict=True):
        np.testing.assert_allclose(products, recommender.score(user, ids["items"]), rtol=1e-5, atol=1e-6)
    facts = json.loads((folder / "embeddings.json").read_text())
    assert facts == {
        "users": 7,
        "items": 9,
        "dimension": 4,
        "score": "inner product",
        "item_similarity": "cosine",
        "items_have_length_one": False,
    }


def test_it_is_said_whether_items_have_length_one(recommender: Recommender, tmp_path: Path) -> None:
    items = recommender.item_embeddings
    items = items / np.linalg.norm(items, axis=1, keepdims=True)
    write_embeddings(Recommender(recommender.dataset, recommender.user_embeddings, items), tmp_path)
    assert json.loads((tmp_path / "embeddings.json").read_text())["items_have_length_one"]


def test_nothing_is_overwritten_and_nothing_left_by_halves(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpikeError, match="is not empty"):
        write_embeddings(recommender, tmp_path)
    with pytest.raises(DataError, match="Give a new folder"):
        write_embeddings(recommender, tmp_path / "file")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dumps", full)
    with pytest.raises(DataError, match="No space left"):
        write_embeddings(recommender, tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
