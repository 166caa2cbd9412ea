"""Tables of several files: folders of part files, as Spark, Dask and Ray write them.

Folders such as ``date=2024-01-31`` name the value of a column that their files lack (Hive partitions).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from spike_dgl.data.prepare.streams import unpacked_name
from spike_dgl.errors import DataError

DELTA = "_delta_log"
"""Folder that a Delta table has; some of the table's Parquet files hold rows that were deleted."""
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""Name that stands for a missing value in ``column=value``."""


def files_of(table: Path) -> list[Path]:
    """Return the files of a table in the order of their paths, numbers by value; `table` itself unless it is a folder.

    Names that start with ``_`` or ``.``, checksums (``.crc``) and empty text files are ignored.

    Raises
    ------
    DataError
        If a folder has no part file, cannot be read, or is a Delta table.
    """
    if not table.is_dir():
        return [table]
    if (table / DELTA).is_dir():
        remedy = "Write its current version as Parquet, and give that folder."
        raise DataError(table, "is a Delta table, whose files include deleted rows", remedy)
    try:
        files = sorted(_part_files(table), key=lambda file: _natural(file.relative_to(table)))
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise DataError(table, problem, "Give a folder that you may read.") from None
    if not files:
        remedy = "Give the folder that has the part files. Was the job that writes them interrupted?"
        raise DataError(table, "is a folder without data files", remedy)
    return files


def extension_of(table: Path) -> str:
    """Return the file extension of a table, without compression: ``.json`` for ``part-0.json.gz``."""
    return unpacked_name(files_of(table)[0]).suffix.lower()


def values_in(path: Path) -> dict[str, str | None]:
    """Return the values by column in the folders of a path such as ``date=2024-01-31/part-0.parquet``."""
    pairs = (folder.split("=", 1) for folder in path.parts[:-1] if "=" in folder)
    return {unquote(name): None if value == NO_VALUE else unquote(value) for name, value in pairs}


def short_name(file: Path) -> str:
    """Return the file name, after the folders that name values of columns."""
    start = len(file.parts) - 1
    while start and "=" in file.parts[start - 1]:
        start -= 1
    return "/".join(file.parts[start:])


def _part_files(table: Path) -> Iterator[Path]:
    for folder, inner, names in os.walk(table, onerror=_raise):
        inner[:] = [name for name in inner if not _is_hidden(name)]
        files = (Path(folder, name) for name in names if not _is_hidden(name) and not name.endswith(".crc"))
        # Spark writes an empty text file, even without a header, for a partition without rows.
        yield from (file for file in files if file.suffix == ".parquet" or file.stat().st_size)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _natural(path: Path) -> tuple[list[list[Any]], Path]:
    """Return a sorting key in which part.2 comes before part.10, as Dask numbers its files."""
    pieces = [re.split(r"(\d+)", part) for part in path.parts]
    return [[int(piece) if piece.isdecimal() else piece for piece in part] for part in pieces], path


def _raise(error: OSError) -> None:
    raise error
