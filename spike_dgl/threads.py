"""Threads: their number, how they wait for each other, and lazy values that they share."""

from __future__ import annotations

import os
import sys
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


def wait_passively() -> None:
    """Make OpenMP's threads sleep while they wait for each other, unless the user chose otherwise.

    By default they spin. If another program uses the core of one thread, the others then waste theirs until it
    continues, in each of the hundreds of operations of a training step. OpenMP reads the variable when it is loaded,
    so this has no effect after torch was imported.
    """
    if "torch" not in sys.modules and "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def available_cpus() -> int:
    """Return the number of CPUs that the process's affinity and its container's quota (cgroup v1 and v2) allow."""
    import joblib

    return int(joblib.cpu_count())


def use_threads(number: int | None) -> None:
    """Set the number of torch's threads; None for ``OMP_NUM_THREADS`` if set, else the number of available CPUs."""
    import torch

    if number is None and "OMP_NUM_THREADS" not in os.environ:
        number = min(torch.get_num_threads(), available_cpus())
    if number is not None:
        torch.set_num_threads(number)
