"""Interface for reading a raw file piece by piece: exactly, row by row, or fast, as Arrow columns.

The exact reading is the reference, and finds the lines of errors. The fast reading is tried first, and fails on a piece
with any irregular row.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from spike_dgl.data.prepare.arrow import pa
from spike_dgl.data.prepare.columns import Column

PIECE = 1 << 24
"""Number of bytes to parse at a time."""
LONGEST_ROW = 1 << 26
"""Maximum length of a row in bytes; a longer one has a quote that is not closed."""


class Row(NamedTuple):
    """A row: its line, and its cells by column name or, if it is broken, the problem."""

    line: int
    cells: Mapping[str, Any]
    problem: str = ""


class Piece(Protocol):
    """Some rows of a file."""

    def rows(self) -> Iterator[Row]:
        """Yield the rows one by one, including broken ones; blank lines are skipped."""

    def table(self, columns: Sequence[Column]) -> Any:
        """Read columns as an Arrow table. Raises `pyarrow.ArrowInvalid` if a row is irregular."""


def decoded_lines(content: bytes) -> Iterator[str | None]:
    """Yield the text of each line including its line end, None where it is not UTF-8."""
    return map(_decoded, io.BytesIO(content))


def check_text(content: bytes) -> None:
    """Raise `pyarrow.ArrowInvalid` if the bytes are not UTF-8 text."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid(str(error)) from None


def in_arrow_memory(content: bytes) -> Any:
    """Copy the content to Arrow's memory: Arrow's threads abort if they release a Python object while Python exits."""
    stream = pa.BufferOutputStream()
    stream.write(content)
    return pa.BufferReader(stream.getvalue())


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None
