"""Rows of a raw file piece by piece: exactly and one by one, or fast as Arrow columns.

The exact reading is the definition, and finds the line of whatever is wrong; the fast one is tried first, and gives
up on a piece at the first thing that is out of order.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from spike_dgl.data.prepare.arrow import pa
from spike_dgl.data.prepare.columns import Column

PIECE = 1 << 24
"""Bytes that are parsed at a time."""
LONGEST_ROW = 1 << 26
"""Bytes from which on a row that does not end is a quote that somebody forgot to close."""


class Row(NamedTuple):
    """A row: its line, and its cells by column name, or what is wrong with it."""

    line: int
    cells: Mapping[str, Any]
    problem: str = ""


class Piece(Protocol):
    """Some rows of a file."""

    def rows(self) -> Iterator[Row]:
        """Yield the rows one by one, whatever is wrong with them; blank lines are left out."""

    def table(self, columns: Sequence[Column]) -> Any:
        """Read columns as an Arrow table. Raises `pyarrow.ArrowInvalid` where a row is out of order."""


def decoded_lines(content: bytes) -> Iterator[str | None]:
    """The text of each line with its end, None where it is not UTF-8."""
    return map(_decoded, io.BytesIO(content))


def check_text(content: bytes) -> None:
    """Raise `pyarrow.ArrowInvalid` where bytes are not UTF-8 text."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid(str(error)) from None


def in_arrow_memory(content: bytes) -> Any:
    """A copy for Arrow to read. A thread of Arrow that let go of a Python object while Python exits would abort it."""
    stream = pa.BufferOutputStream()
    stream.write(content)
    return pa.BufferReader(stream.getvalue())


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None
