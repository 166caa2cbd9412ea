"""Slow calls, one at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class Busy(Exception):  # noqa: N818  (a state of the server, no fault)
    """As many calls wait as may wait."""


class Worker:
    """One thread for calls that take long: they run in the order they came in, and only so many may wait.

    What runs here needs no lock, takes one core at most, and leaves the threads that answer quick calls alone.

    Parameters
    ----------
    name
        Of the thread.
    capacity
        Calls under way and waiting together.
    """

    def __init__(self, name: str, capacity: int) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._places = threading.BoundedSemaphore(capacity)

    async def run(self, call: Callable[[], Result]) -> Result:
        """The result of a call, once it is its turn. Raises `Busy` where no place is left."""
        if not self._places.acquire(blocking=False):
            raise Busy
        future = self._executor.submit(call)
        future.add_done_callback(lambda _: self._places.release())
        # A client that goes away cancels its call as long as that still waits.
        return await asyncio.wrap_future(future)

    def start(self, call: Callable[[], Result]) -> Future[Result]:
        """Put a call of the server itself in the line; it takes no place away."""
        return self._executor.submit(call)

    def close(self) -> None:
        """Drop what waits; what is under way ends by itself."""
        self._executor.shutdown(wait=False, cancel_futures=True)
