"""Files that are either whole or as they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spike_dgl.errors import DataError

PARTIAL = ".partial"


@contextmanager
def atomic_write(file: Path) -> Iterator[Path]:
    """A path beside `file` to write to, which takes its place afterwards; an error or kill leaves the old one."""
    partial = file.with_name(file.name + PARTIAL)
    try:
        yield partial
        os.replace(partial, file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_write_for_user(file: Path) -> Iterator[Path]:
    """As `atomic_write`, where a user named the file: missing folders above it are made.

    Raises
    ------
    DataError
        Where the file is a folder or cannot be written.
    """
    if file.is_dir():
        raise DataError(file, "is a folder", "Name a file.")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as partial:
            yield partial
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        raise DataError(file, problem, "Make room, or name a file that you may write.") from error
