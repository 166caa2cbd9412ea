"""SIGHUP as a wish to serve the newest run."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class ReloadRequest:
    """While entered, SIGHUP sets `asked` instead of ending the program.

    It still ends a server in the foreground whose terminal was closed, as the system sends SIGHUP then, too. Systems
    without SIGHUP, such as Windows, never ask.
    """

    def __init__(self) -> None:
        self.asked = False
        self._ends_with_terminal = False
        self._previous: Any = None

    def __enter__(self) -> ReloadRequest:
        # Python lets only the main thread handle signals.
        if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGHUP, self._ask)
            # nohup, which has it ignored, is meant to outlive the terminal.
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
