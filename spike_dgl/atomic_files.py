"""Atomic writing of files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spike_dgl.errors import DataError

PARTIAL = ".partial"


@contextmanager
def atomic_write(file: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `file` on success; after an error or kill the old file remains."""
    partial = file.with_name(file.name + PARTIAL)
    try:
        yield partial
        os.replace(partial, file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_write_for_user(file: Path) -> Iterator[Path]:
    """Write a file that the user named like `atomic_write`, and create missing parent folders.

    Raises
    ------
    DataError
        If the file is a folder or cannot be written.
    """
    if file.is_dir():
        raise DataError(file, "is a folder", "Give the path of a file.")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as partial:
            yield partial
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        raise DataError(file, problem, "Free disk space, or choose a file that you can write.") from error
