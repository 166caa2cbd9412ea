"""Results of the audit's checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

Level: TypeAlias = Literal["pass", "warn", "fail", "skip"]


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Parameters
    ----------
    check
        Name of the check.
    level
        "pass" if nothing was found, "fail" if results would be wrong, "warn" if it may matter, "skip" if the data set
        lacks what the check needs.
    count
        Number of cases found.
    message
        Meaning and remedy; for a pass, the measured values, if any.
    """

    check: str
    level: Level
    count: int
    message: str = ""


def skipped(check: str, reason: str) -> Finding:
    """Return the finding of a check that cannot run on this data set."""
    return Finding(check, "skip", 0, reason)


def finding(check: str, count: int | np.integer, level: Level, message: str) -> Finding:
    """Return a finding of `level` if `count` is above 0, else a pass."""
    return Finding(check, level, int(count), message) if count else Finding(check, "pass", 0)
