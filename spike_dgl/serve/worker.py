"""A worker thread for slow calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


class Busy(Exception):  # noqa: N818  (a state of the server, no fault)
    """A queue is full, or an operation is already in progress; the message says which."""


class Worker:
    """Thread that runs slow calls in the order they arrive, with a bounded queue.

    Calls need no lock, use one core at most, and do not block the threads that answer quick requests. The thread ends
    after the queued calls once nothing refers to its worker.

    Parameters
    ----------
    name
        Name of the thread.
    capacity
        Maximum number of calls, running and queued.
    """

    def __init__(self, name: str, capacity: int) -> None:
        self.capacity = capacity
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._queue: set[Future[Any]] = set()

    @property
    def queued(self) -> int:
        """Number of clients' calls, running and queued."""
        return len(self._queue)

    async def run(self, call: Callable[[], Result]) -> Result:
        """Queue a call and return its result. Raises `Busy` if the queue is full."""
        if self.queued >= self.capacity:
            raise Busy("the request queue is full")
        future = self._executor.submit(call)
        self._queue.add(future)
        future.add_done_callback(self._queue.discard)
        # If a client disconnects, its call is cancelled unless it already runs.
        return await asyncio.wrap_future(future)

    def start(self, call: Callable[[], Result]) -> Future[Result]:
        """Queue a call of the server itself, which does not count towards `capacity`."""
        return self._executor.submit(call)

    def close(self) -> None:
        """Cancel queued calls. A running call continues to its end."""
        self._executor.shutdown(wait=False, cancel_futures=True)
