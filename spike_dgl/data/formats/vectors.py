"""Text vectors in npz files, one file for each kind of node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spike_dgl.data.files import read_arrays
from spike_dgl.errors import DataError
from spike_dgl.typing import FloatArray, IndexArray


@dataclass(frozen=True)
class VectorFile:
    """One file: `ids` [n] in any order and `embeddings` [n, d_t]."""

    file: Path
    ids: IndexArray
    embeddings: FloatArray


def read_vector_files(folder: Path, kinds: Sequence[str]) -> dict[str, VectorFile]:
    """The file ``{kind}_embeddings.npz`` of every kind of node, or nothing if the folder has none of them."""
    files = {kind: folder / f"{kind}_embeddings.npz" for kind in kinds}
    present = [file for file in files.values() if file.exists()]
    if not present:
        return {}
    for file in files.values():
        if file not in present:
            raise DataError(
                file, f"is missing, although {present[0].name} is there", "Give all of them or none."
            )
    vectors = {kind: _read(file) for kind, file in files.items()}
    first, *others = vectors.values()
    for other in others:
        if other.embeddings.shape[1] != first.embeddings.shape[1]:
            problem = (
                f"vectors of dimension {other.embeddings.shape[1]}, "
                f"but {first.file.name} has dimension {first.embeddings.shape[1]}"
            )
            raise DataError(other.file, problem, "Encode all texts with one encoder.")
    return vectors


def vectors_in_row_order(vectors: VectorFile, size: int) -> FloatArray:
    """Vectors [size, d_t] of rows 0 to size - 1. Raises `DataError` unless every row has exactly one."""
    ids = vectors.ids
    different = np.unique(ids)
    remedy = "Give every node one row."
    if len(different) != len(ids):
        values, counts = np.unique(ids, return_counts=True)
        raise DataError(vectors.file, f"the id {values[counts.argmax()]} occurs twice", remedy)
    outside = different[(different < 0) | (different >= size)]
    if outside.size:
        problem = f"the id {outside[0]} is out of range: {size} nodes are known, ids go from 0 to {size - 1}"
        raise DataError(vectors.file, problem, remedy)
    if len(different) != size:
        missing = int(np.setdiff1d(np.arange(size), different)[0])
        raise DataError(vectors.file, f"has {len(ids)} rows for {size} nodes; {missing} is missing", remedy)
    ordered = np.empty_like(vectors.embeddings)
    ordered[ids] = vectors.embeddings
    return ordered


def _read(file: Path) -> VectorFile:
    arrays = read_arrays(file, ("ids", "embeddings"))
    ids, embeddings = arrays["ids"], arrays["embeddings"]
    remedy = "Expected `ids`, whole numbers [n], and `embeddings`, real numbers [n, d_t]."
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise DataError(file, f"`ids` has shape {ids.shape} and type {ids.dtype}", remedy)
    if embeddings.ndim != 2 or embeddings.dtype.kind not in "fiu" or not embeddings.shape[1]:
        problem = f"`embeddings` has shape {embeddings.shape} and type {embeddings.dtype}"
        raise DataError(file, problem, remedy)
    if len(ids) != len(embeddings):
        raise DataError(file, f"has {len(ids)} ids for {len(embeddings)} embeddings", remedy)
    with np.errstate(over="ignore"):
        vectors = embeddings.astype(np.float32)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(file, f"the vector of id {ids[row]} is not finite", "Encode its text again.")
    return VectorFile(file, ids.astype(np.int64), vectors)
