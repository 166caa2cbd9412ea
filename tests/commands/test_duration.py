"""Durations on the command line: with and without a unit, and those that are refused."""

from __future__ import annotations

import click
import pytest

from spike_dgl.commands.duration import Duration

POSITIVE = Duration(min=0, min_open=True)


@pytest.mark.parametrize(
    ("text", "seconds"), [("480", 480.0), ("8m", 480.0), ("90s", 90.0), ("1.5h", 5400.0), (300.0, 300.0)]
)
def test_a_duration_in_seconds(text: str | float, seconds: float) -> None:
    assert POSITIVE.convert(text, None, None) == seconds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("soon", "such as 480, 90s, 8m or 1h"),
        ("8 m", "such as"),
        ("-1", "such as"),
        ("nan", "such as"),
        ("0m", "x>0"),
    ],
)
def test_what_is_no_duration_is_refused(text: str, problem: str) -> None:
    with pytest.raises(click.BadParameter, match=problem):
        POSITIVE.convert(text, None, None)


def test_a_duration_has_a_maximum() -> None:
    with pytest.raises(click.BadParameter, match="0<=x<=600"):
        Duration(0, 600).convert("11m", None, None)
