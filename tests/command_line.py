"""Commands run in this process, as typed by a user, and in others that are killed."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from spike_dgl import cli
from spike_dgl.errors import SpikeError
from spike_dgl.runs.folder_lock import FolderLock


def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    """Run a command; return exit code, output and errors."""
    monkeypatch.setattr(sys, "argv", ["main.py", *map(str, arguments)])
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def wait_until_unlocked(folder: Path) -> None:
    """Wait for killed child processes, which hold the lock for a moment longer than their parent."""
    for _ in range(1000):
        with suppress(SpikeError):
            return FolderLock(folder).release()
        time.sleep(0.01)
    raise AssertionError(f"{folder} is still locked")
