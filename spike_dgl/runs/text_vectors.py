"""Text vectors of a run, in its folder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from spike_dgl.profiles.records import Profiles
from spike_dgl.profiles.terms import fit_terms
from spike_dgl.runs.folder import RunFolder
from spike_dgl.typing import FloatArray

TERMS = "item_terms.npz"
"""File of the sparse vectors of items' texts. Runs of earlier versions lack it, and compare dense vectors."""


@dataclass(frozen=True)
class TextVectors:
    """Text vectors of `users` [U, d_t] and `entities` [N, d_t], and sparse ones of items [I, V]; None if missing."""

    users: FloatArray | None = None
    entities: FloatArray | None = None
    item_terms: csr_matrix | None = None

    @property
    def dense(self) -> dict[str, FloatArray]:
        """Vectors of ``users`` and ``entities``; empty if the run has no profiles."""
        if self.users is None or self.entities is None:
            return {}
        return {"users": self.users, "entities": self.entities}

    @classmethod
    def of_run(cls, folder: RunFolder) -> TextVectors:
        """Read from a run folder."""
        dense = folder.read_arrays("profiles.npz") if folder.file("profiles.npz").is_file() else {}
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

    def write(self, folder: RunFolder) -> None:
        """Write to a run folder."""
        if self.dense:
            folder.write_arrays("profiles.npz", **self.dense)
        if self.item_terms is not None:
            terms = self.item_terms
            parts = {"data": terms.data, "indices": terms.indices, "indptr": terms.indptr}
            folder.write_arrays(TERMS, shape=np.array(terms.shape), **parts)


def _read_terms(folder: RunFolder) -> csr_matrix | None:
    if not folder.file(TERMS).is_file():
        return None
    parts = folder.read_arrays(TERMS)
    return csr_matrix((parts["data"], parts["indices"], parts["indptr"]), parts["shape"])
