"""Reading of text vectors from npz files, one file per kind of node.

A file has the arrays `ids` and `embeddings`. Files written by this package also have the name of the `encoder` and the
`text_hashes` of the encoded texts, to detect outdated vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spike_dgl.data.files import read_arrays, shorten
from spike_dgl.errors import DataError
from spike_dgl.typing import FloatArray, IndexArray

ONE_ENCODER = (
    "Encode all texts with the same encoder: delete the files, then run python main.py profile encode."
)


@dataclass(frozen=True)
class VectorFile:
    """Contents of a file of text vectors.

    Parameters
    ----------
    file
        The file.
    ids, embeddings
        Row numbers [n], in any order, and vectors [n, d_t].
    encoder
        Name of the text encoder; empty if unknown.
    text_hashes
        SHA-256 (hex) of the text of each row [n], or None if unknown.
    """

    file: Path
    ids: IndexArray
    embeddings: FloatArray
    encoder: str = ""
    text_hashes: NDArray[np.bytes_] | None = None


def read_vector_files(folder: Path, kinds: Sequence[str]) -> dict[str, VectorFile]:
    """Read the file ``{kind}_embeddings.npz`` of every kind of node; empty if the folder has none of them."""
    files = {kind: folder / f"{kind}_embeddings.npz" for kind in kinds}
    present = [file for file in files.values() if file.exists()]
    if not present:
        return {}
    for file in files.values():
        if file not in present:
            raise DataError(
                file, f"is missing, although {present[0].name} exists", "Provide all of these files or none."
            )
    vectors = {kind: _read(file) for kind, file in files.items()}
    first, *others = vectors.values()
    for other in others:
        if other.embeddings.shape[1] != first.embeddings.shape[1]:
            problem = (
                f"has vectors of dimension {other.embeddings.shape[1]}, "
                f"but {first.file.name} has dimension {first.embeddings.shape[1]}"
            )
            raise DataError(other.file, problem, ONE_ENCODER)
        if other.encoder != first.encoder:
            problem = f"has vectors by {_by(other)}, but {first.file.name} has vectors by {_by(first)}"
            raise DataError(other.file, problem, ONE_ENCODER)
    return vectors


def _by(vectors: VectorFile) -> str:
    return f"the encoder {shorten(vectors.encoder, 80)}" if vectors.encoder else "an encoder without a name"


def in_row_order(vectors: VectorFile, size: int) -> VectorFile:
    """Return the vectors sorted by id, 0 to size - 1. Raises `DataError` unless every row has exactly one vector."""
    ids = vectors.ids
    different = np.unique(ids)
    remedy = "Provide exactly one row per node."
    if len(different) != len(ids):
        values, counts = np.unique(ids, return_counts=True)
        raise DataError(vectors.file, f"the id {values[counts.argmax()]} occurs twice", remedy)
    outside = different[(different < 0) | (different >= size)]
    if outside.size:
        problem = f"the id {outside[0]} is out of range: there are {size} nodes, with ids 0 to {size - 1}"
        raise DataError(vectors.file, problem, remedy)
    if len(different) != size:
        missing = int(np.setdiff1d(np.arange(size), different)[0])
        raise DataError(
            vectors.file, f"has {len(ids)} rows for {size} nodes; id {missing} is missing", remedy
        )
    order = np.argsort(ids)
    hashes = vectors.text_hashes[order] if vectors.text_hashes is not None else None
    return replace(vectors, ids=ids[order], embeddings=vectors.embeddings[order], text_hashes=hashes)


def joined_hashes(files: Sequence[VectorFile]) -> NDArray[np.bytes_] | None:
    """Concatenate the text hashes of several files; None unless all files have them."""
    present = [file.text_hashes for file in files if file.text_hashes is not None]
    return np.concatenate(present) if len(present) == len(files) else None


def _read(file: Path) -> VectorFile:
    arrays = read_arrays(file, ("ids", "embeddings"), optional=("encoder", "text_hashes"))
    ids, embeddings = arrays["ids"], arrays["embeddings"]
    remedy = "Expected `ids`, whole numbers [n], and `embeddings`, real numbers [n, d_t]."
    if ids.ndim == 1 and ids.dtype.kind == "f" and np.array_equal(ids, np.trunc(ids)):
        ids = ids.astype(np.int64)
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
    encoder, hashes = str(arrays.get("encoder", "")), arrays.get("text_hashes")
    if hashes is not None and (hashes.shape != ids.shape or hashes.dtype.kind != "S"):
        problem = f"`text_hashes` has shape {hashes.shape} and type {hashes.dtype}"
        raise DataError(file, problem, "Expected the hash of each row's text as bytes [n].")
    return VectorFile(file, ids.astype(np.int64), vectors, encoder, hashes)
