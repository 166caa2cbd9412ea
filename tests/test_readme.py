"""Examples and numbers in the README are correct."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def rows(table: str) -> list[list[str]]:
    """Return the cells of the lines of a Markdown table, without bold marks."""
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table.splitlines()]


@pytest.mark.parametrize(
    ("study", "column"),
    [
        ("Models on the bundled MovieLens data", 1),
        ("Models on office products", 3),
        ("Models on Last.fm", 5),
        ("Models on MovieLens-1M", 7),
    ],
)
def test_its_results_are_those_of_the_page_of_results(study: str, column: int) -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").partition(f"## {study}")[2]
    models = re.search(r"^\|  .*?\n\n", page, flags=re.DOTALL | re.MULTILINE)
    shown = re.search(r"^\| model .*?\n\n", README, flags=re.DOTALL | re.MULTILINE)
    assert models
    assert shown
    measured = {
        name: [recall.partition(" ")[0], p or "reference"]
        for name, _, recall, _, _, p, *_ in rows(models[0].strip())[2:]
    }
    told = {cells[0]: cells[column : column + 2] for cells in rows(shown[0].strip())[2:]}
    assert len(told) >= 9
    assert told == {name: measured.get(name, ["", ""]) for name in told}


def test_it_is_short() -> None:
    assert len(README.split()) <= 1100
