"""Durations on the command line."""

from __future__ import annotations

import re
from typing import Any

import click

SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


class Duration(click.FloatRange):
    """Number of seconds, given without a unit or with s, m or h: 480, 90s, 8m, 1.5h."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds. Fails for other texts, and for durations outside the range."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)([smh]?)", str(value))
        if match is None:
            self.fail(f"{value!r} is not a duration such as 480, 90s, 8m or 1h", param, ctx)
        seconds: float = super().convert(float(match[1]) * SECONDS[match[2]], param, ctx)
        return seconds
