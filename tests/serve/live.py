"""`main.py serve` as a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def serving(run: Path, *options: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address of a server on a free port, and its process; ended on leaving."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), "serve", str(run), "--port", "0", *options],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = process.stdout.readline()
        address = re.search(r"http://\S+:\d+", said)
        assert address, said + process.stderr.read()
        yield address[0], process
    finally:
        process.kill()
        process.communicate()
