"""`main.py serve` in a separate process."""

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
    """Start a server on a free port; yield its address and process, and kill it on exit."""
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
        line = process.stdout.readline()
        address = re.search(r"http://\S+:\d+", line)
        if address is None:
            raise RuntimeError(line + process.stderr.read())
        yield address[0], process
    finally:
        process.kill()
        process.communicate()
