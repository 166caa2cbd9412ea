"""Lazy values that threads share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Once(Generic[Value]):
    """Thread-safe lazy value: computed by the first call, and shared by all threads."""

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: list[Value] = []

    def __call__(self) -> Value:
        """Return the value."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
        return self._made[0]
