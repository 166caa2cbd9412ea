"""Slow calls, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


class Busy(Exception):  # noqa: N818  (a state of the server, no fault)
    """No place is left for a request; the message says where."""


class Worker:
    """One thread for calls that take long: they run in the order they came in, and only so many may wait.

    What runs here needs no lock, takes one core at most, and leaves the threads that answer quick calls alone. The
    thread ends with the last reference to its worker, after the calls that still wait.

    Parameters
    ----------
    name
        Of the thread.
    capacity
        Calls under way and waiting together.
    """

    def __init__(self, name: str, capacity: int) -> None:
        self.capacity = capacity
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._queue: set[Future[Any]] = set()

    @property
    def queued(self) -> int:
        """Calls of clients, under way and waiting together."""
        return len(self._queue)

    async def run(self, call: Callable[[], Result]) -> Result:
        """The result of a call, once it is its turn. Raises `Busy` where the queue is full."""
        if self.queued >= self.capacity:
            raise Busy("too many slow questions wait already")
        future = self._executor.submit(call)
        self._queue.add(future)
        future.add_done_callback(self._queue.discard)
        # A client that goes away cancels its call as long as that still waits.
        return await asyncio.wrap_future(future)

    def start(self, call: Callable[[], Result]) -> Future[Result]:
        """Put a call of the server itself in the line; it takes no place away."""
        return self._executor.submit(call)

    def close(self) -> None:
        """Drop what waits; what is under way ends by itself."""
        self._executor.shutdown(wait=False, cancel_futures=True)
