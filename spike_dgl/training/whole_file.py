"""Files that are either whole or as they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """A path beside `file` to write to, which takes its place afterwards; a kill in between leaves the old one."""
    partial = file.with_name(file.name + PARTIAL)
    yield partial
    os.replace(partial, file)
