"""Rate limits of requests."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress


class Pace:
    """Rate limit per minute by even spacing.

    Each request gets the next free time, which then moves on in proportion to the request's amount. So no minute
    exceeds the limit. The token bucket of the usual libraries starts full, lets twice the limit through in the first
    minute, and so causes responses with status 429.

    Parameters
    ----------
    per_minute
        Amount per minute, such as requests or tokens; None for no limit.
    """

    def __init__(self, per_minute: int | None) -> None:
        self.seconds_each = 60 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._closed = asyncio.Event()

    async def wait(self, amount: float = 1) -> None:
        """Wait until `amount` may be sent, or until `close` is called."""
        now = time.monotonic()
        start = max(now, self._next)
        self._next = start + amount * self.seconds_each
        if start > now:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closed.wait(), start - now)

    def pause(self, seconds: float) -> None:
        """Let nothing more through for some seconds; calls that already wait keep their time."""
        self._next = max(self._next, time.monotonic() + seconds)

    @property
    def is_closed(self) -> bool:
        """True after `close`."""
        return self._closed.is_set()

    def close(self) -> None:
        """End all present and future waiting, because the run stops."""
        self._closed.set()
