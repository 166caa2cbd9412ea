"""How many threads torch uses, and how they wait for each other."""

from __future__ import annotations

import os
import sys


def wait_passively() -> None:
    """Let OpenMP's threads sleep while they wait for each other, unless the user chose otherwise.

    By default they spin. Where another program has the core of one thread, the others then burn theirs until it comes
    back, at each of the hundreds of operations of a training step. The OpenMP library reads the variable when it is
    loaded, so this has no effect once torch is imported.
    """
    if "torch" not in sys.modules and "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def available_cpus() -> int:
    """Number of CPUs that this process may use: its affinity, and the quota of its container (cgroup v1 and v2)."""
    import joblib

    return int(joblib.cpu_count())


def use_threads(number: int | None) -> None:
    """Let torch use some threads; None for as many as there are CPUs to use, or as ``OMP_NUM_THREADS`` says."""
    import torch

    if number is None and "OMP_NUM_THREADS" not in os.environ:
        number = min(torch.get_num_threads(), available_cpus())
    if number is not None:
        torch.set_num_threads(number)
