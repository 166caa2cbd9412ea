"""Text vectors of a run, in its folder: in memory, or in float16 on disk."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from spike_dgl.atomic_files import atomic_write
from spike_dgl.errors import SpikeError
from spike_dgl.profiles.encoders.cache import NewTable
from spike_dgl.profiles.records import Profiles
from spike_dgl.profiles.terms import fit_terms
from spike_dgl.runs.folder import RunFolder
from spike_dgl.typing import FloatArray

TERMS = "item_terms.npz"
"""File of the sparse vectors of items' texts. Runs of earlier versions lack it, and compare dense vectors."""

DENSE = "profiles.npz"
ON_DISK = "profiles.npy"
"""File of the vectors [U + N, d_t] in float16, users first, with `ProfileOptions.vectors_on_disk`."""
ROWS_AT_ONCE = 1 << 14


def new_table_on_disk(folder: Path) -> NewTable:
    """Return a function that creates a table of vectors in float16 in an unnamed temporary file of a folder."""

    def create(shape: tuple[int, int]) -> FloatArray:
        with tempfile.TemporaryFile(dir=folder) as file:  # the mapping keeps the file
            return np.memmap(file, np.float16, "w+", shape=shape)

    return create


@dataclass(frozen=True)
class TextVectors:
    """Text vectors of `users` [U, d_t] and `entities` [N, d_t], and sparse ones of items [I, V]; None if missing.

    Dense ones in float16 are memory-mapped.
    """

    users: FloatArray | None = None
    entities: FloatArray | None = None
    item_terms: csr_matrix | None = None

    @property
    def dense(self) -> dict[str, FloatArray]:
        """Vectors of ``users`` and ``entities`` in memory; empty if the run has no profiles."""
        if self.users is None or self.entities is None:
            return {}
        return {
            "users": np.asarray(self.users, np.float32),
            "entities": np.asarray(self.entities, np.float32),
        }

    def tensors(self) -> tuple[Tensor | None, Tensor | None]:
        """Return the vectors of users and entities for a model, without a copy."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nothing writes to it
            users, entities = (
                None if rows is None else torch.from_numpy(rows) for rows in (self.users, self.entities)
            )
        return users, entities

    @classmethod
    def of_run(cls, folder: RunFolder, num_users: int) -> TextVectors:
        """Read from the folder of a run with U users."""
        if folder.file(ON_DISK).is_file():
            rows = folder.map_array(ON_DISK)
            return cls(rows[:num_users], rows[num_users:], _read_terms(folder))
        dense = folder.read_arrays(DENSE) if folder.file(DENSE).is_file() else {}
        return cls(dense.get("users"), dense.get("entities"), _read_terms(folder))

    @classmethod
    def of_profiles(cls, profiles: Profiles, num_items: int) -> TextVectors:
        """Take the vectors of profiles, and compute the sparse ones."""
        fitted = fit_terms(profiles.entity_texts[:num_items])
        return cls(
            profiles.user_vectors,
            profiles.entity_vectors,
            None if fitted is None else fitted[1].astype(np.float32),
        )

    def write(self, folder: RunFolder, *, on_disk: bool = False) -> TextVectors:
        """Write to a run folder, and return the vectors to train with: with `on_disk`, memory-mapped."""
        if on_disk:
            self._write_on_disk(folder)
        elif self.dense:
            folder.write_arrays(DENSE, **self.dense)
        if self.item_terms is not None:
            terms = self.item_terms
            parts = {"data": terms.data, "indices": terms.indices, "indptr": terms.indptr}
            folder.write_arrays(TERMS, shape=np.array(terms.shape), **parts)
        return self.of_run(folder, len(self.users)) if on_disk and self.users is not None else self

    def _write_on_disk(self, folder: RunFolder) -> None:
        if self.users is None or self.entities is None:
            return
        shape = (len(self.users) + len(self.entities), self.users.shape[1])
        with atomic_write(folder.file(ON_DISK)) as partial:
            table = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
            for first, rows in ((0, self.users), (len(self.users), self.entities)):
                for start in range(0, len(rows), ROWS_AT_ONCE):
                    _write_rows(table[first + start :], rows[start : start + ROWS_AT_ONCE])
            table.flush()


def _write_rows(table: FloatArray, rows: FloatArray) -> None:
    with np.errstate(over="ignore"):
        rounded = rows.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise SpikeError(
            "some text vectors are too large for float16\n  Leave out profiles.vectors_on_disk, or scale the vectors."
        )
    table[: len(rows)] = rounded


def _read_terms(folder: RunFolder) -> csr_matrix | None:
    if not folder.file(TERMS).is_file():
        return None
    parts = folder.read_arrays(TERMS)
    return csr_matrix((parts["data"], parts["indices"], parts["indptr"]), parts["shape"])
