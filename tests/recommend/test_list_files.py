"""List files of all users: equal to single lists, and written atomically."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from spike_dgl.data.dataset import Vocabulary
from spike_dgl.errors import DataError, SpikeError, UnknownIdError
from spike_dgl.recommend import Recommender, list_files
from spike_dgl.recommend.list_files import write_lists
from tests.toy import random_dataset

NAMES = tuple(f'film {row}, "the\nbest" é' for row in range(9))
FORMATS = (".csv", ".jsonl", ".parquet")


@pytest.fixture
def recommender(monkeypatch: pytest.MonkeyPatch) -> Recommender:
    """Return seven users, whose lists are written two at a time."""
    monkeypatch.setattr(list_files, "CHUNK", 2)
    random = np.random.default_rng(0)
    data = random_dataset(0)
    data = data.replace(items=Vocabulary("item", data.items.ids, NAMES))
    users, items = (random.normal(size=(size, 4)).astype(np.float32) for size in (7, 9))
    return Recommender(data, users, items)


def read(file: Path) -> list[tuple[str, int, str, str, float]]:
    """Read the rows of a file of any format."""
    if file.suffix == ".jsonl":
        lists = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [
            (line["user"], rank, item["id"], item["name"], item["score"])
            for line in lists
            for rank, item in enumerate(line["items"], start=1)
        ]
    if file.suffix == ".csv":
        with file.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(file).to_pylist()
    return [
        (row["user_id"], int(row["rank"]), row["item_id"], row["item_name"], float(row["score"]))
        for row in rows
    ]


def expected(
    recommender: Recommender, users: tuple[str, ...], k: int, **options
) -> list[tuple[str, int, str, str, float]]:
    return [
        (user, rank, item.id, item.name, item.score)
        for user in users
        for rank, item in enumerate(recommender.recommend(user, k, **options), start=1)
    ]


@pytest.mark.parametrize("ending", FORMATS)
def test_a_file_holds_the_lists_of_recommend(recommender: Recommender, ending: str, tmp_path: Path) -> None:
    file = tmp_path / "new" / f"lists{ending}"
    write_lists(recommender, file, 3)
    rows = read(file)
    wanted = expected(recommender, recommender.users.ids, 3)
    assert [row[:4] for row in rows] == [row[:4] for row in wanted]
    assert np.float32([row[4] for row in rows]).tolist() == [row[4] for row in wanted]  # to the last bit
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("ending", FORMATS)
def test_some_users_and_some_candidates(recommender: Recommender, ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"lists{ending}"
    options = {"exclude_seen": False, "candidates": ["i1", "i4"]}
    write_lists(recommender, file, 5, users=["u3", "u1", "u5"], **options)
    assert [row[:3] for row in read(file)] == [
        row[:3] for row in expected(recommender, ("u3", "u1", "u5"), 5, **options)
    ]
    write_lists(recommender, file, 5, candidates=[])
    assert read(file) == []


@pytest.mark.parametrize("ending", FORMATS)
def test_an_error_on_the_way_leaves_what_was_there(
    recommender: Recommender, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"lists{ending}"
    write_lists(recommender, file)
    before, whole = file.read_bytes(), recommender.recommend

    def broken(users, *arguments, **options):
        if "u4" in users:
            raise KeyboardInterrupt
        return whole(users, *arguments, **options)

    monkeypatch.setattr(recommender, "recommend", broken)
    with pytest.raises(KeyboardInterrupt):
        write_lists(recommender, file, 2)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_written_says_why(recommender: Recommender, tmp_path: Path) -> None:
    with pytest.raises(SpikeError, match=r"Use one of \.csv, \.jsonl, \.parquet"):
        write_lists(recommender, tmp_path / "lists.txt")
    with pytest.raises(DataError, match="is a folder"):
        write_lists(recommender, tmp_path.rename(tmp_path.with_suffix(".csv")))
    file = tmp_path.with_suffix(".csv") / "file"
    file.touch()
    with pytest.raises(DataError, match="cannot be written"):
        write_lists(recommender, file / "lists.csv")
    with pytest.raises(UnknownIdError, match="unknown user 'nobody'"):
        write_lists(recommender, file.with_name("lists.csv"), users=["u1", "nobody"])
    with pytest.raises(UnknownIdError, match="unknown item 'nothing'"):
        write_lists(recommender, file.with_name("lists.csv"), candidates=["nothing"])
    assert list(file.parent.iterdir()) == [file]


def test_without_pyarrow_other_formats_are_named(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    with pytest.raises(SpikeError, match=r"needs the package pyarrow.*\n.*use a \.csv or \.jsonl"):
        write_lists(recommender, tmp_path / "lists.parquet")
    write_lists(recommender, tmp_path / "lists.csv")
