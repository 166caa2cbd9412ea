"""Software versions and machine of a run."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from spike_dgl.threads import available_cpus

PACKAGES = ("spike_dgl", "torch", "dgl", "numpy", "scipy", "scikit-learn")


def environment() -> dict[str, Any]:
    """Return versions and machine, for the run folder."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "cpus_available": available_cpus(),
        "command": " ".join(["python", *sys.argv]),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def peak_memory_mb() -> float | None:
    """Return the peak resident memory of this process in MB; None if the system does not report it."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux, where getrusage includes the parent's memory at the time of the fork
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def resident_memory_mb() -> dict[str, float | None]:
    """Return the memory of this process in MB: ``anonymous``, and mapped from a ``file``; None if not reported.

    The system takes back pages of files when others need the memory.
    """
    reported = _reported_mb("/proc/self/status", "RssAnon", "RssFile")
    return {"anonymous": reported["RssAnon"], "file": reported["RssFile"]}


def available_memory_mb() -> float | None:
    """Return the available memory of this machine in MB; None if the system does not report it."""
    return _reported_mb("/proc/meminfo", "MemAvailable")["MemAvailable"]


def _reported_mb(file: str, *names: str) -> dict[str, float | None]:
    """Return sizes in MB by their name in a file of /proc, which has kilobytes; None for those it does not have."""
    lines = Path(file).read_text().splitlines() if Path(file).is_file() else []
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) / 1024 if name in fields else None for name in names}
