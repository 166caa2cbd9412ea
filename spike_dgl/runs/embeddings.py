"""Final embeddings of a run: ``embeddings.npz`` or, above a size, arrays that stay on the disk.

Those are ``embeddings/users.npy`` and ``embeddings/items.npy``. They are memory-mapped: only the rows that are used are
read, and a product with all items reads them once without keeping them. ``embeddings/manifest.json`` has their sizes
and checksums.
"""

from __future__ import annotations

import json
import math
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from spike_dgl.atomic_files import PARTIAL, atomic_write
from spike_dgl.data.files import COPY_AGAIN, sha256_of_file
from spike_dgl.errors import DataError
from spike_dgl.runs.folder import MAPPED, RunFolder
from spike_dgl.typing import FloatArray

IN_MEMORY, FOLDER = "embeddings.npz", "embeddings"
SIDES = ("users", "items")
GB = 10**9


@dataclass(frozen=True)
class Rows:
    """Embeddings of one side: their shape [n, D], and consecutive rows, which need not be in memory together."""

    shape: tuple[int, int]
    parts: Iterable[FloatArray]

    @classmethod
    def of(cls, array: FloatArray) -> Rows:
        """Take an array in memory."""
        rows, dim = array.shape
        return cls((rows, dim), [array])

    def write(self, stream: IO[bytes]) -> None:
        """Write an npy file. Raises `ValueError` if the parts do not have that shape together."""
        header = {"descr": "<f4", "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(stream, header)
        rows, dim = 0, self.shape[1]
        for part in self.parts:
            if part.shape[1:] != (dim,):
                raise ValueError(f"rows of shape {part.shape[1:]}, expected ({dim},)")
            stream.write(np.ascontiguousarray(part, "<f4").data)
            rows += len(part)
        if rows != self.shape[0]:
            raise ValueError(f"{rows} rows, expected {self.shape[0]}")


def store_embeddings(folder: RunFolder, users: Rows, items: Rows, map_above: float) -> None:
    """Store the final embeddings of a run in place of earlier ones; an error leaves the earlier ones.

    Parameters
    ----------
    folder
        Run folder.
    users, items
        Embeddings [U, D] and [I, D].
    map_above
        Size of both in GB above which they are stored to be memory-mapped.
    """
    sides = dict(zip(SIDES, (users, items), strict=True))
    if sum(math.prod(side.shape) for side in sides.values()) * 4 <= map_above * GB:
        with atomic_write(folder.file(IN_MEMORY)) as file, zipfile.ZipFile(file, "w") as archive:
            for name, side in sides.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                    side.write(stream)
        shutil.rmtree(folder.file(FOLDER), ignore_errors=True)
        return
    partial = folder.file(FOLDER + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        recorded = {}
        for name, side in sides.items():
            file = _file(partial, name)
            with file.open("wb") as stream:
                side.write(stream)
            recorded[name] = {"shape": side.shape, "sha256": sha256_of_file(file)}
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
        if sha256_of_file(file) != recorded[side]["sha256"]:
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


def _mapped(file: Path, shape: Sequence[int]) -> FloatArray:
    try:
        array: FloatArray = np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(file, f"cannot be read ({error})", COPY_AGAIN) from None
    if list(array.shape) != shape or array.dtype != np.float32:
        found = f"{array.dtype} {list(array.shape)}"
        raise DataError(file, f"has the type and shape {found}, expected float32 {shape}", COPY_AGAIN)
    return array
