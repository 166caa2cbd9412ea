"""Run folders: nothing is overwritten, incomplete files are rejected, and only plain data is loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spike_dgl.errors import DataError, SpikeError
from spike_dgl.runs.environment import available_memory_mb, peak_memory_mb
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.metrics_log import MetricsLog
from spike_dgl.training.checkpoint import load_checkpoint, save_checkpoint


def test_a_kill_between_log_and_checkpoint_leaves_no_epoch_twice(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for epoch in (1, 2, 3):
        log.append({"epoch": epoch})
    log.keep_before(3)  # the checkpoint says epoch 3 is under way
    log.append({"epoch": 3})
    assert [record["epoch"] for record in log.read()] == [1, 2, 3]


def test_a_record_cut_short_is_left_out(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append({"epoch": 1})
    with log.file.open("a") as stream:
        stream.write('{"epoch": 2, "lo')
    assert log.read() == [{"epoch": 1}]
    log.keep_before(2)
    log.append({"epoch": 2})
    assert [record["epoch"] for record in log.read()] == [1, 2]


class Anything:
    """Not plain data: unpickling it could run code."""


def test_a_checkpoint_with_anything_but_plain_data_is_refused(tmp_path: Path) -> None:
    torch.save({"model": Anything()}, tmp_path / "best.pt")
    with pytest.raises(DataError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path / "best.pt")


def test_a_checkpoint_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    save_checkpoint({"epoch": 1}, tmp_path / "last.pt")
    save_checkpoint({"epoch": 2, "weights": torch.ones(3)}, tmp_path / "last.pt")
    assert load_checkpoint(tmp_path / "last.pt")["epoch"] == 2
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_folders_of_the_same_name_are_numbered(tmp_path: Path) -> None:
    names = [RunFolder.next_free(tmp_path / "runs", "spike").path.name for _ in range(3)]
    assert names == ["spike", "spike-2", "spike-3"]


def test_a_folder_with_something_in_it_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpikeError, match="already exists"):
        RunFolder.create(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe junk"])
def test_broken_files_of_a_run_are_one_clear_error(tmp_path: Path, content: bytes) -> None:
    folder = RunFolder(tmp_path)
    for name, read in (("result.json", folder.read_json), ("embeddings.npz", folder.read_arrays)):
        folder.file(name).write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            read(name)


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_arrays("embeddings.npz", users=np.eye(3, dtype=np.float32))
    assert np.array_equal(folder.read_arrays("embeddings.npz")["users"], np.eye(3))


def test_arrays_cut_short_are_one_clear_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_arrays("embeddings.npz", users=np.eye(300, dtype=np.float32))
    whole = folder.file("embeddings.npz").read_bytes()
    for size in (10, 1000, len(whole) - 10):
        folder.file("embeddings.npz").write_bytes(whole[:size])
        with pytest.raises(DataError, match="cannot be read"):
            folder.read_arrays("embeddings.npz")


def test_the_peak_of_memory_is_plausible() -> None:
    peak = peak_memory_mb()
    assert peak is None or 50 < peak < 100_000


def test_the_available_memory_is_plausible() -> None:
    available = available_memory_mb()
    assert available is None or 10 < available < 10_000_000
