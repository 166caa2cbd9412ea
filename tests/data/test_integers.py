"""Parsing of whole numbers in blocks: the same values, lines and errors for any size of a block."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.data import files
from spike_dgl.errors import DataError

FILE = Path("numbers.txt")


@given(
    rows=st.lists(st.lists(st.integers(0, 10**17), max_size=3), max_size=8),
    ending=st.sampled_from(["", "\n", "\n\n"]),
    at_once=st.integers(1, 60),
)
def test_values_and_lines(rows: list[list[int]], ending: str, at_once: int) -> None:
    content = ("\n".join(" ".join(map(str, row)) for row in rows) + ending).encode()
    expected = [(value, line) for line, row in enumerate(rows, 1) for value in row]
    with patch.object(files, "PARSED_AT_ONCE", at_once):
        if not expected:
            with pytest.raises(DataError, match="is empty"):
                files.parse_integers(FILE, content)
            return
        parsed = files.parse_integers(FILE, content)
    assert list(zip(parsed.values.tolist(), parsed.lines.tolist(), strict=True)) == expected


@pytest.mark.parametrize("at_once", [1, 5, 1000])
@pytest.mark.parametrize("broken", ["4 x5", "4 " + "9" * 25, "4 -5"])
def test_the_line_of_an_error(at_once: int, broken: str) -> None:
    content = f"0 1\n\n2 3\n{broken}\n6 7\n".encode()
    with patch.object(files, "PARSED_AT_ONCE", at_once), pytest.raises(DataError) as error:
        files.parse_integers(FILE, content)
    assert error.value.line == 4
    assert broken.split()[1] in str(error.value)
