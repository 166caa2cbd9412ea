"""Stopping at the next safe point after Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from spike_dgl.errors import SpikeError


class Interrupted(SpikeError):  # noqa: N818  (no error, like KeyboardInterrupt)
    """Training was stopped by the user, with everything saved.

    Parameters
    ----------
    message
        Place where training stopped, and how to resume it.
    signal_number
        Signal that stopped it.
    """

    same_in_all_processes = True

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class StopRequest:
    """Context in which the first SIGINT or SIGTERM sets `signal_number`, and the second one ends the program."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        # Python allows signal handlers in the main thread only; in others, signals keep their default effect.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _ask(self, number: int, _: FrameType | None) -> None:
        self.signal_number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
