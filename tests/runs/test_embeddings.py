"""Final embeddings in memory or memory-mapped: the same lists, and damaged files are errors."""

from __future__ import annotations

import json
import mmap
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spike_dgl.errors import DataError
from spike_dgl.recommend import Recommender
from spike_dgl.runs.embeddings import (
    Rows,
    check_embeddings,
    has_embeddings,
    read_embeddings,
    store_embeddings,
)
from spike_dgl.runs.folder import RunFolder
from tests.toy import random_dataset

SHAPES = {"users": (7, 4), "items": (9, 4)}
BYTES = 4 * (7 + 9) * 4
MAPPED = ["embeddings/items.npy", "embeddings/manifest.json", "embeddings/users.npy"]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run")


def fill(folder: RunFolder, map_above: float, seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    users, items = (random.normal(size=shape).astype(np.float32) for shape in SHAPES.values())
    in_parts = Rows(SHAPES["items"], iter([items[:2], items[2:2], items[2:]]))
    store_embeddings(folder, Rows.of(users), in_parts, map_above)
    stored = read_embeddings(folder)
    np.testing.assert_array_equal(stored["users"], users)
    np.testing.assert_array_equal(stored["items"], items)


def names(folder: RunFolder) -> list[str]:
    files = (file for file in folder.path.rglob("*") if file.is_file())
    return sorted(file.relative_to(folder.path).as_posix() for file in files if "lock" not in file.name)


def is_mapped(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


def test_the_size_decides_and_the_lists_are_the_same(folder: RunFolder) -> None:
    lists = []
    for map_above, files in (
        (BYTES / 1e9, ["embeddings.npz"]),
        ((BYTES - 1) / 1e9, MAPPED),
        (1.0, ["embeddings.npz"]),
    ):
        fill(folder, map_above)
        assert names(folder) == files
        assert has_embeddings(folder)
        stored = read_embeddings(folder)
        assert [is_mapped(stored[side]) for side in SHAPES] == [files == MAPPED] * 2
        check_embeddings(folder)
        data = random_dataset(0)
        recommender = Recommender(data, stored["users"], stored["items"])
        lists.append([recommender.recommend(user, 5) for user in data.users.ids])
        lists[-1].append(recommender.similar_items(data.items.ids[0], 5))
    assert lists[0] == lists[1] == lists[2]


def test_a_list_does_not_copy_the_items(folder: RunFolder) -> None:
    users, items = np.ones((7, 4096), np.float32), np.ones((9, 4096), np.float32)
    store_embeddings(folder, Rows.of(users), Rows.of(items), 0.0)
    read = read_embeddings(folder)
    data = random_dataset(0)
    tracemalloc.start()
    Recommender(data, read["users"], read["items"]).recommend(data.users.ids[0], 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < read["items"].nbytes / 2


def full_disk() -> Iterator[np.ndarray]:
    yield np.ones((3, 4), np.float32)
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (lambda: [np.ones((3, 4))], "3 rows, expected 7"),
        (lambda: [np.ones((7, 4)), np.ones((1, 4))], "8 rows, expected 7"),
        (lambda: [np.ones((7, 3))], "expected "),
        (full_disk, "No space left"),
    ],
)
def test_an_error_leaves_the_earlier_ones(
    folder: RunFolder, parts: Callable[[], Iterable[np.ndarray]], message: str
) -> None:
    for map_above in (0.0, 1.0):
        fill(folder, map_above)
        before = read_embeddings(folder)["users"].copy()
        for other in (0.0, 1.0):
            with pytest.raises((ValueError, OSError), match=message):
                store_embeddings(
                    folder, Rows(SHAPES["users"], parts()), Rows.of(np.ones((9, 4), np.float32)), other
                )
            assert np.array_equal(read_embeddings(folder)["users"], before)
            assert names(folder) == (["embeddings.npz"] if map_above else MAPPED)


def test_arrays_stay_as_they_were_read_when_others_replace_them(folder: RunFolder) -> None:
    fill(folder, 0.0)
    read = read_embeddings(folder)["items"]
    before = read.copy()
    opened = RunFolder(folder.path)
    opened.check_unchanged()
    fill(folder, 0.0, seed=1)
    assert np.array_equal(read, before)
    assert not np.array_equal(read_embeddings(folder)["items"], before)
    with pytest.raises(DataError, match="has changed since it was opened"):
        opened.check_unchanged()


def shorter(folder: Path) -> None:
    content = (folder / "items.npy").read_bytes()
    (folder / "items.npy").write_bytes(content[:-1])


def of_other_size(folder: Path) -> None:
    np.save(folder / "items.npy", np.zeros((8, 4), np.float32))


def of_other_type(folder: Path) -> None:
    np.save(folder / "items.npy", np.zeros((9, 4)))


def lost(folder: Path) -> None:
    (folder / "items.npy").unlink()


@pytest.mark.parametrize("damage", [shorter, of_other_size, of_other_type, lost])
def test_a_file_of_another_size_is_an_error_at_once(
    folder: RunFolder, damage: Callable[[Path], None]
) -> None:
    fill(folder, 0.0)
    damage(folder.file("embeddings"))
    with pytest.raises(DataError, match=r"items\.npy: (cannot be read|has the type and shape)"):
        read_embeddings(folder)


def test_a_changed_byte_is_found_by_the_checksum(folder: RunFolder) -> None:
    fill(folder, 0.0)
    file = folder.file("embeddings/users.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    read_embeddings(folder)
    with pytest.raises(DataError, match=r"users\.npy: has another checksum"):
        check_embeddings(folder)


def test_a_damaged_manifest(folder: RunFolder) -> None:
    fill(folder, 0.0)
    file = folder.file("embeddings/manifest.json")
    file.write_text(file.read_text()[:-9])
    with pytest.raises(DataError, match=r"manifest\.json: cannot be read"):
        read_embeddings(folder)
    file.write_text(json.dumps({"users": {}}))
    with pytest.raises(DataError, match=r"manifest\.json: "):
        read_embeddings(folder)


def test_a_run_without_any_is_an_error(folder: RunFolder) -> None:
    assert not has_embeddings(folder)
    with pytest.raises(DataError, match="Was the model trained to the end"):
        read_embeddings(folder)
