"""The run folder: all that is needed to tell what was trained on what, how it went, and to use the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spike_dgl.atomic_files import PARTIAL, atomic_write
from spike_dgl.config import build, read_yaml
from spike_dgl.data.dataset import Dataset
from spike_dgl.data.options import DataOptions, load
from spike_dgl.errors import DataError, SpikeError
from spike_dgl.renamed import with_present_names
from spike_dgl.runs.environment import environment
from spike_dgl.runs.folder_lock import LOCK, FolderLock
from spike_dgl.runs.metrics_log import MetricsLog

SET_UP_FILES = {"profiles.npz", "profiles.jsonl.gz", "encoder.npz", "environment.json", "config.yaml"}
"""What a run writes before training, ``config.yaml`` last: with it a run can go on."""
SERVED_FILES = (
    "config.yaml",
    "environment.json",
    "best.pt",
    "embeddings.npz",
    "encoder.npz",
    "profiles.npz",
    "profiles.jsonl.gz",
)
"""What answers are computed from, some of it read when first needed."""


class RunFolder:
    """Files of one run.

    ====================== ============================================================
    ``config.yaml``        every setting, defaults included
    ``environment.json``   versions, machine, data checksum and split hash; the same of each time it was resumed
    ``profiles.npz``       text vectors the model was given
    ``profiles.jsonl.gz``  the texts they were made from, and where each comes from
    ``encoder.npz``        what makes a vector of a further text, where the run fitted an encoder
    ``metrics.jsonl``      one record an epoch
    ``last.pt``            state to go on from
    ``best.pt``            weights of the reported epoch
    ``embeddings.npz``     final user and item embeddings of the reported epoch
    ``test_users.npz``     test metrics of every user, and the number of their training items
    ``validation.json``    what was reached, in place of a result where nothing was tested
    ``result.json``        test metrics, and what they were measured with
    ``RESULT.md``          the same to read
    ====================== ============================================================

    Parameters
    ----------
    path
        The folder; `create` makes it, `open` expects it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: FolderLock | None = None
        self._stamps = self._served_files()

    def __reduce__(self) -> tuple[type[RunFolder], tuple[Path]]:
        return RunFolder, (self.path,)  # another process does not hold the lock

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Return a new folder, locked. Raises `SpikeError` where there already is something.

        What a run leaves that was killed before it was set up is no more than input to training, and cleared away.
        """
        exists = SpikeError(
            f"{path} already exists\n  Go on with it (--resume {path}) or name another folder (--out)."
        )
        if path.exists() and not path.is_dir():
            raise exists
        path.mkdir(parents=True, exist_ok=True)
        if not _holds_set_up_files_only(path):
            raise exists
        folder = cls(path)
        folder.lock()
        if not _holds_set_up_files_only(path):  # another program was faster
            raise exists
        for file in path.iterdir():
            if file.name != LOCK:
                file.unlink()
        return folder

    def lock(self) -> None:
        """Let no other program write to the run until `unlock`, or until this process ends.

        Raises `SpikeError` if another program writes to it.
        """
        if self._lock is None:
            self._lock = FolderLock(self.path)

    def unlock(self) -> None:
        """Let other programs write to the run."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @classmethod
    def next_free(cls, parent: Path, name: str) -> RunFolder:
        """A new folder ``parent/name``, or ``parent/name-2``, ``-3`` ... where runs of that name exist."""
        number, path = 1, parent / name
        while True:
            if not path.exists():
                with suppress(SpikeError):  # another program took the name just now
                    return cls.create(path)
            number += 1
            path = parent / f"{name}-{number}"

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A run that exists. Raises `DataError` where the folder holds none."""
        if not (path / "config.yaml").is_file():
            raise DataError(
                path, "is not a run folder (it has no config.yaml)", "Name a folder that train wrote."
            )
        return cls(path)

    def check_unchanged(self) -> None:
        """Raise `DataError` where the files of a finished run are others than when this object was made.

        What is read later would otherwise be of another run than what was read before: the folder was trained again
        or resumed, or is a link that leads elsewhere now.
        """
        if self._served_files() != self._stamps:
            raise DataError(
                self.path, "has changed since it was opened", "Load it again; a server does on SIGHUP."
            )

    def _served_files(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(self.file(name)) for name in SERVED_FILES]

    def remove_if_empty(self) -> None:
        """Take the folder away again where nothing was written: a mistyped setting should leave no trace."""
        self.unlock()
        with suppress(OSError):
            self.path.rmdir()

    def file(self, name: str) -> Path:
        """Path of one of the run's files."""
        return self.path / name

    def write_text(self, name: str, text: str) -> None:
        """Write a text file as a whole or not at all."""
        with atomic_write(self.file(name)) as partial:
            partial.write_text(text, encoding="utf-8")

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file as a whole or not at all."""
        self.write_text(name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the run. Raises `DataError` where it is missing or broken."""
        file = self.file(name)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                file, f"cannot be read ({error})", "Did the run finish? Go on with --resume."
            ) from None
        return dict(content)

    def add_resumption(self, record: Mapping[str, Any]) -> None:
        """Add to ``environment.json`` that the run was resumed: with what software, where, and what was changed."""
        started = self.read_json("environment.json")
        resumed = [*started.get("resumed", []), {**environment(), **record}]
        self.write_json("environment.json", started | {"resumed": resumed})

    def changed_when_resumed(self) -> list[str]:
        """Settings that did not hold for the whole run, a clause each."""
        if not self.file("environment.json").is_file():
            return []
        return [
            f"{key}={new} from epoch {one['epoch']} on, {old} before"
            for one in self.read_json("environment.json").get("resumed", [])
            for key, (old, new) in one["changed"].items()
        ]

    def write_arrays(self, name: str, **arrays: NDArray[Any]) -> None:
        """Write an npz file as a whole or not at all."""
        with atomic_write(self.file(name)) as partial, partial.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]

    def read_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Read an npz file of the run. Raises `DataError` where it is missing or broken."""
        file = self.file(name)
        try:
            with file.open("rb") as stream, np.load(stream) as stored:
                return {key: stored[key] for key in stored.files}
        # A damaged file makes numpy and zipfile raise almost anything.
        except Exception as error:
            raise DataError(
                file,
                f"cannot be read ({error})",
                "Was the model trained to the end? If not, go on with --resume.",
            ) from None

    def settings(self) -> dict[str, dict[str, Any]]:
        """Settings as they were recorded, by section; those of an earlier version under their present names."""
        recorded = read_yaml(self.file("config.yaml"))
        return {
            section: with_present_names(section, values, warn=False) for section, values in recorded.items()
        }

    def load_dataset(self) -> Dataset:
        """The data of the run. Raises `DataError` where it is no longer what the run was trained on."""
        options = build(DataOptions, self.settings().get("data"), "data")
        dataset = load(options)
        if dataset.checksum != self.read_json("environment.json")["data"]["checksum"]:
            raise DataError(
                options.path,
                f"is no longer the data that {self.path} was trained on (its checksum differs)",
                "Put the data back as it was, or train again.",
            )
        return dataset

    def metrics(self) -> MetricsLog:
        """The per-epoch records."""
        return MetricsLog(self.file("metrics.jsonl"))


def _holds_set_up_files_only(folder: Path) -> bool:
    """Whether a folder holds no more than what a run writes before it is set up."""
    names = {file.name.removesuffix(PARTIAL) for file in folder.iterdir()}
    return names <= {*SET_UP_FILES, LOCK} and "config.yaml" not in names


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
