"""Files that are either whole or as they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """A path beside `file` to write to, which takes its place afterwards; an error or kill leaves the old one."""
    partial = file.with_name(file.name + PARTIAL)
    try:
        yield partial
        os.replace(partial, file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
