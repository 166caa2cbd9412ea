"""`main.py serve` as a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAIN = Path(__file__).parents[1] / "main.py"


@contextmanager
def serving(run: Path, *options: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server on a free port, and its process; ended on leaving."""
    process = subprocess.Popen(
        [sys.executable, str(MAIN), "serve", str(run), "--port", "0", *options],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        said = process.stdout.readline()
        address = re.search(r"http://\S+:\d+", said)
        if address is None:
            raise RuntimeError(said + process.stderr.read())
        yield address[0], process
    finally:
        process.kill()
        process.communicate()
