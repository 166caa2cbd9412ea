"""The run folder: settings, data checksums, logs, checkpoints and results of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spike_dgl.atomic_files import PARTIAL, atomic_write
from spike_dgl.config import build, read_yaml
from spike_dgl.data.dataset import Dataset, NodeTexts
from spike_dgl.data.options import DataOptions, load
from spike_dgl.errors import DataError, SpikeError
from spike_dgl.renamed import with_present_names
from spike_dgl.runs.environment import environment
from spike_dgl.runs.folder_lock import LOCK, FolderLock
from spike_dgl.runs.metrics_log import MetricsLog

SET_UP_FILES = {
    "profiles.npz",
    "profiles.npy",
    "item_terms.npz",
    "profiles.jsonl.gz",
    "encoder.npz",
    "environment.json",
    "config.yaml",
}
"""Files that a run writes before training, ``config.yaml`` last: with it a run can be resumed."""
MAPPED = "embeddings/manifest.json"
"""Exists if the final embeddings are memory-mapped arrays beside it."""
SERVED_FILES = (
    "config.yaml",
    "environment.json",
    "best.pt",
    "embeddings.npz",
    MAPPED,
    "encoder.npz",
    "profiles.npz",
    "profiles.npy",
    "item_terms.npz",
    "profiles.jsonl.gz",
)
"""Files that recommendations are computed from; some are read lazily."""


class RunFolder:
    """Files of one run.

    ====================== ============================================================
    ``config.yaml``        all settings including defaults
    ``environment.json``   versions, machine, data checksum and split hash, also of each resumption
    ``profiles.npz``       text vectors of the profiles; or ``profiles.npy`` with ``profiles.vectors_on_disk``
    ``item_terms.npz``     TF-IDF vectors of the texts of items
    ``profiles.jsonl.gz``  profile texts, and the source of each
    ``encoder.npz``        text encoder, if the run fitted one
    ``metrics.jsonl``      one record per epoch
    ``last.pt``            checkpoint to resume from
    ``best.pt``            weights of the reported epoch
    ``embeddings.npz``     final user and item embeddings of the reported epoch
    ``embeddings/``        the same in place of it, if they are large (`spike_dgl.runs.embeddings`)
    ``test_users.npz``     test metrics and number of training items of each user
    ``validation.json``    validation result, instead of a test result, with ``--no-test``
    ``result.json``        test metrics, data, costs
    ``RESULT.md``          the result for people
    ====================== ============================================================

    Parameters
    ----------
    path
        The folder; see `create` and `open`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: FolderLock | None = None
        self._stamps = self._served_files()

    def __reduce__(self) -> tuple[type[RunFolder], tuple[Path]]:
        return RunFolder, (self.path,)  # a copy in another process does not have the lock

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Create and lock a new folder. Raises `SpikeError` if it exists and is not empty.

        Files of a run that was killed during set-up are deleted.
        """
        exists = SpikeError(
            f"{path} already exists\n  Resume it (--resume {path}) or choose another folder (--out)."
        )
        if path.exists() and not path.is_dir():
            raise exists
        path.mkdir(parents=True, exist_ok=True)
        if not _holds_set_up_files_only(path):
            raise exists
        folder = cls(path)
        folder.lock()
        if not _holds_set_up_files_only(path):  # another program created the run in the meantime
            raise exists
        for file in path.iterdir():
            if file.name != LOCK:
                file.unlink()
        return folder

    def lock(self) -> None:
        """Lock the run against other programs until `unlock`, or until this process ends.

        Raises `SpikeError` if another program has the lock.
        """
        if self._lock is None:
            self._lock = FolderLock(self.path)

    def unlock(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @classmethod
    def next_free(cls, parent: Path, name: str) -> RunFolder:
        """Create the folder ``parent/name``, or ``parent/name-2``, ``-3`` ... if runs of that name exist."""
        number, path = 1, parent / name
        while True:
            if not path.exists():
                with suppress(SpikeError):  # another program created it in the meantime
                    return cls.create(path)
            number += 1
            path = parent / f"{name}-{number}"

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open an existing run. Raises `DataError` if the folder is not a run folder."""
        if not (path / "config.yaml").is_file():
            raise DataError(
                path, "is not a run folder (it has no config.yaml)", "Give a folder that train wrote."
            )
        return cls(path)

    def check_unchanged(self) -> None:
        """Raise `DataError` if the files of a finished run have changed since this object was created.

        Otherwise files of different runs could be mixed, if the folder was trained again or resumed, or is a symbolic
        link that has changed.
        """
        if self._served_files() != self._stamps:
            raise DataError(
                self.path, "has changed since it was opened", "Load it again; a server does on SIGHUP."
            )

    def _served_files(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(self.file(name)) for name in SERVED_FILES]

    def remove_if_empty(self) -> None:
        """Remove the folder if it is empty, so that a failed start leaves nothing behind."""
        self.unlock()
        with suppress(OSError):
            self.path.rmdir()

    def file(self, name: str) -> Path:
        """Return the path of one of the run's files."""
        return self.path / name

    def write_text(self, name: str, text: str) -> None:
        """Write a text file atomically."""
        with atomic_write(self.file(name)) as partial:
            partial.write_text(text, encoding="utf-8")

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file atomically."""
        self.write_text(name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the run. Raises `DataError` if it is missing or invalid."""
        file = self.file(name)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                file, f"cannot be read ({error})", "If the run did not finish, resume it with --resume."
            ) from None
        return dict(content)

    def add_resumption(self, record: Mapping[str, Any]) -> None:
        """Record a resumption in ``environment.json``: software, machine and changed settings."""
        started = self.read_json("environment.json")
        resumed = [*started.get("resumed", []), {**environment(), **record}]
        self.write_json("environment.json", started | {"resumed": resumed})

    def changed_when_resumed(self) -> list[str]:
        """Return a clause for each setting that was changed during the run."""
        if not self.file("environment.json").is_file():
            return []
        return [
            f"{key}={new} from epoch {one['epoch']} on, {old} before"
            for one in self.read_json("environment.json").get("resumed", [])
            for key, (old, new) in one["changed"].items()
        ]

    def regime(self) -> dict[str, Any]:
        """Return the training regime and how it was chosen; empty if the run was not started in one."""
        if not self.file("environment.json").is_file():
            return {}
        return dict(self.read_json("environment.json").get("regime", {}))

    def write_arrays(self, name: str, **arrays: NDArray[Any]) -> None:
        """Write an npz file atomically."""
        with atomic_write(self.file(name)) as partial, partial.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]

    def read_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Read an npz file of the run. Raises `DataError` if it is missing or invalid."""
        with self._readable(name) as file, file.open("rb") as stream, np.load(stream) as stored:
            return {key: stored[key] for key in stored.files}

    def map_array(self, name: str) -> NDArray[Any]:
        """Map an npy file of the run into memory, to read only. Raises `DataError` if it is missing or invalid."""
        with self._readable(name) as file:
            mapped: NDArray[Any] = np.load(file, mmap_mode="r")
            return mapped

    @contextmanager
    def _readable(self, name: str) -> Iterator[Path]:
        file = self.file(name)
        try:
            yield file
        # numpy and zipfile raise various exceptions for damaged files.
        except Exception as error:
            raise DataError(
                file,
                f"cannot be read ({error})",
                "Was the model trained to the end? If not, resume it with --resume.",
            ) from None

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return the recorded settings by section; old names are replaced with current ones."""
        recorded = read_yaml(self.file("config.yaml"))
        return {
            section: with_present_names(section, values, warn=False) for section, values in recorded.items()
        }

    def load_dataset(self) -> Dataset:
        """Load the data of the run. Raises `DataError` if it has changed since training.

        Profile texts may have been added: the run has the texts that it was trained with in a file of its own.
        """
        options = build(DataOptions, self.settings().get("data"), "data")
        dataset = load(options)
        recorded = self.read_json("environment.json")["data"]["checksum"]
        known = (dataset, dataset.replace(profiles=NodeTexts()))
        if not any(data.has_checksum(recorded) for data in known):
            raise DataError(
                options.path,
                f"is no longer the data that {self.path} was trained on (its checksum differs)",
                "Restore the data, or train again.",
            )
        return dataset

    def metrics(self) -> MetricsLog:
        """Return the log of the epochs."""
        return MetricsLog(self.file("metrics.jsonl"))


def _holds_set_up_files_only(folder: Path) -> bool:
    """Return whether a folder contains only files that a run writes before its set-up is complete."""
    names = {file.name.removesuffix(PARTIAL) for file in folder.iterdir()}
    return names <= {*SET_UP_FILES, LOCK} and "config.yaml" not in names


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
