"""Commands run in this process, as typed by a user."""

from __future__ import annotations

import sys

import pytest

from spike_dgl import cli


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
