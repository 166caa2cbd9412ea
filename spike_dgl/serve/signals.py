"""SIGHUP as a request to reload the run."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class ReloadRequest:
    """Context in which SIGHUP sets `asked` instead of ending the program.

    SIGHUP still ends a foreground server whose terminal was closed, since the system sends it then, too. On systems
    without SIGHUP, such as Windows, `asked` stays false.
    """

    def __init__(self) -> None:
        self.asked = False
        self._ends_with_terminal = False
        self._previous: Any = None

    def __enter__(self) -> ReloadRequest:
        # Python lets only the main thread handle signals.
        if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGHUP, self._ask)
            # Under nohup SIGHUP is ignored, and the server should outlive the terminal.
            self._ends_with_terminal = self._previous == signal.SIG_DFL and _has_terminal()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGHUP, self._previous)

    def _ask(self, _: int, __: FrameType | None) -> None:
        if self._ends_with_terminal and not _has_terminal():
            signal.raise_signal(signal.SIGTERM)
        else:
            self.asked = True


def _has_terminal() -> bool:
    return os.isatty(0)
