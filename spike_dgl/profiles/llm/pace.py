"""How fast requests may leave."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress


class Pace:
    """A limit a minute, kept by even spacing.

    Whoever waits takes the next free moment, and moves the one after it on by what the amount is worth. In no
    minute does more than the limit leave: a bucket that starts full, as the usual libraries have, lets twice as
    much through in its first minute, and a server's own limit then answers 429.

    Parameters
    ----------
    per_minute
        Amount a minute; None for no limit.
    """

    def __init__(self, per_minute: int | None) -> None:
        self.seconds_each = 60 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._closed = asyncio.Event()

    async def wait(self, amount: float = 1) -> None:
        """Return when so much may leave, or when there is nothing to wait for any more."""
        now = time.monotonic()
        start = max(now, self._next)
        self._next = start + amount * self.seconds_each
        if start > now:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closed.wait(), start - now)

    def pause(self, seconds: float) -> None:
        """Let nothing leave for so long; those who wait already keep their moment."""
        self._next = max(self._next, time.monotonic() + seconds)

    @property
    def is_closed(self) -> bool:
        """True where the run stops."""
        return self._closed.is_set()

    def close(self) -> None:
        """End all waiting, now and later: the run stops."""
        self._closed.set()
