"""Final embeddings of a run: ``embeddings.npz`` or, above a size, arrays that stay on the disk.

Those are ``embeddings/users.npy`` and ``embeddings/items.npy``. They are memory-mapped: only the rows that are used are
read, and a product with all items reads them once without keeping them. ``embeddings/manifest.json`` has their sizes
and checksums.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from spike_dgl.atomic_files import PARTIAL
from spike_dgl.data.files import COPY_AGAIN, sha256_of
from spike_dgl.errors import DataError
from spike_dgl.runs.folder import MAPPED, RunFolder
from spike_dgl.typing import FloatArray

IN_MEMORY, FOLDER = "embeddings.npz", "embeddings"
SIDES = ("users", "items")
GB = 10**9


@contextmanager
def new_embeddings(
    folder: RunFolder, shapes: dict[str, tuple[int, int]], map_above: float
) -> Iterator[dict[str, FloatArray]]:
    """Yield arrays to fill, and store them at the end in place of earlier ones; an error leaves the earlier ones.

    Parameters
    ----------
    folder
        Run folder.
    shapes
        [U, D] of ``users`` and [I, D] of ``items``.
    map_above
        Size of both arrays in GB above which they are on the disk only.
    """
    if sum(rows * dim for rows, dim in shapes.values()) * 4 <= map_above * GB:
        arrays: dict[str, FloatArray] = {side: np.empty(shapes[side], np.float32) for side in SIDES}
        yield arrays
        shutil.rmtree(folder.file(FOLDER), ignore_errors=True)
        folder.write_arrays(IN_MEMORY, **arrays)
        return
    partial = folder.file(FOLDER + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield {side: _new_mapped(_file(partial, side), shapes[side]) for side in SIDES}
        recorded = {
            side: {"shape": shapes[side], "sha256": _checksum(_file(partial, side))} for side in SIDES
        }
        (partial / Path(MAPPED).name).write_text(json.dumps(recorded, indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(folder.file(FOLDER), ignore_errors=True)
        partial.rename(folder.file(FOLDER))
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    folder.file(IN_MEMORY).unlink(missing_ok=True)


def has_embeddings(folder: RunFolder) -> bool:
    """Return whether a run has final embeddings."""
    return folder.file(IN_MEMORY).is_file() or folder.file(MAPPED).is_file()


def read_embeddings(folder: RunFolder) -> dict[str, FloatArray]:
    """Return the final embeddings of ``users`` [U, D] and ``items`` [I, D]; large ones are memory-mapped, read-only.

    Raises `DataError` if they are missing, or do not have the recorded size.
    """
    if not folder.file(MAPPED).is_file():
        return folder.read_arrays(IN_MEMORY)
    recorded = _manifest(folder)
    return {side: _mapped(_file(folder.file(FOLDER), side), recorded[side]["shape"]) for side in SIDES}


def check_embeddings(folder: RunFolder) -> None:
    """Compare the checksums of memory-mapped embeddings, which reads them whole. Raises `DataError` if one differs."""
    recorded = _manifest(folder) if folder.file(MAPPED).is_file() else {}
    for side in recorded:
        file = _file(folder.file(FOLDER), side)
        if _checksum(file) != recorded[side]["sha256"]:
            raise DataError(file, "has another checksum than manifest.json says", COPY_AGAIN)


def _manifest(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """Return shape and checksum of each side. Raises `DataError` if the manifest does not have them."""
    recorded = folder.read_json(MAPPED)
    for side in SIDES:
        if not isinstance(recorded.get(side), dict) or recorded[side].keys() != {"shape", "sha256"}:
            raise DataError(folder.file(MAPPED), f"has no shape and checksum of {side}", COPY_AGAIN)
    return recorded


def _file(folder: Path, side: str) -> Path:
    return folder / f"{side}.npy"


def _new_mapped(file: Path, shape: tuple[int, int]) -> FloatArray:
    array: FloatArray = np.asarray(np.lib.format.open_memmap(file, "w+", np.float32, shape))
    if hasattr(
        os, "posix_fallocate"
    ):  # a full disk is an error now, and not a bus error when rows are written
        with file.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
    return array


def _mapped(file: Path, shape: Sequence[int]) -> FloatArray:
    try:
        array: FloatArray = np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(file, f"cannot be read ({error})", COPY_AGAIN) from None
    if list(array.shape) != shape or array.dtype != np.float32:
        found = f"{array.dtype} {list(array.shape)}"
        raise DataError(file, f"has the type and shape {found}, expected float32 {shape}", COPY_AGAIN)
    return array


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return sha256_of(stream)
