"""Titles and entity names with the same or different meanings."""

from __future__ import annotations

import pytest

from spike_dgl.data.titles import difference


@pytest.mark.parametrize(
    ("title", "name", "expected"),
    [
        ("Phantom, The (1996)", "The Phantom of the Opera (1925 film)", "year"),
        ("Kid, The (2000)", "Mad Max 2", "name"),
        ("Game, The (1997)", "Death Proof", "name"),
        ("Heat (1995)", "Heat (1995 film)", ""),
        ("Heat (1995)", "Heat (1986 film)", "year"),
        ("Léon (The Professional) (1994)", "Leon the professional", ""),
        ("City of Lost Children, The (1995)", "The City of Lost Children", ""),
        ("Seven (Se7en) (1995)", "Se7en", ""),
        ("Star Wars: Episode IV - A New Hope (1977)", "Star Wars", ""),
        ("Monty Python's Life of Brian (1979)", "Monty Python's Life of Brian", ""),
        ("Crying Freeman (1995)", "Crying Freeman (1997 film)", ""),
        ("A", "The", "name"),
        ("Anything", "(1925 film)", ""),
    ],
)
def test_difference(title: str, name: str, expected: str) -> None:
    assert difference(title, name) == expected


def test_a_name_never_differs_from_itself() -> None:
    for name in ("", "The", "Heat (1995)", "東京物語", "1984", "!!!"):
        assert difference(name, name) == ""
