"""The outcome of a check of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

Level: TypeAlias = Literal["pass", "warn", "fail", "skip"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Parameters
    ----------
    check
        What was looked for.
    level
        "pass" if there is none of it, "fail" if results would be wrong, "warn" for what one should know; "skip" if the
        data set has not what the check needs.
    count
        How many there are.
    message
        What that means, and what to do; of a pass, what was measured, if anything.
    """

    check: str
    level: Level
    count: int
    message: str = ""


def skipped(check: str, reason: str) -> Finding:
    """A check that the data set does not allow."""
    return Finding(check, "skip", 0, reason)


def finding(check: str, count: int | np.integer, level: Level, message: str) -> Finding:
    """A finding of that level if there is anything, else a pass."""
    return Finding(check, level, int(count), message) if count else Finding(check, "pass", 0)
