"""Reads CSV tables row by row, with an error that names the line where one is broken."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from spike_dgl.errors import DataError

Number = TypeVar("Number", int, float)

LIMIT = 2**63
"""Numbers from here on do not fit into an int64."""

UNPACK_AGAIN = "Unpack the original archive again; the file may be cut short or edited."


def read_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the wanted columns, as text, of each row of a CSV file.

    Columns are found by their names in the header; others are left out. Blank lines are skipped.

    Parameters
    ----------
    file
        UTF-8 text, a header line first, columns separated by commas.
    columns
        Names of the wanted columns, in the order in which they are to be returned.

    Raises
    ------
    DataError
        If the file cannot be read, a wanted column is missing, a row has more or fewer columns than the
        header, or quotes do not match.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            yield from _parse(file, stream, columns)
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror}", "Check the name of the folder.") from None
    except UnicodeDecodeError:
        raise DataError(file, "is not UTF-8 text", UNPACK_AGAIN, _first_undecodable_line(file)) from None


def parse_number(kind: Callable[[str], Number], text: str, file: Path, line: int, column: str) -> Number:
    """Convert one cell to a finite `int` or `float`; a `DataError` says which cell is none."""
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not math.isfinite(number) or abs(number) >= LIMIT:
        wanted = "a whole number" if kind is int else "a number"
        raise DataError(file, f"'{text}' in column '{column}' is not {wanted}", UNPACK_AGAIN, line)
    return number


def split_list(cell: str) -> list[str]:
    """The entries of a cell like ``"Tom Hanks| Tim Allen"``: in order, trimmed, each once, none empty."""
    entries = (" ".join(entry.split()) for entry in cell.split("|"))
    return list(dict.fromkeys(entry for entry in entries if entry))


def _parse(file: Path, text: Iterable[str], columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(text, strict=True)
    line = 1  # where the row begins that is read next: a quote that stays open runs to the end of the file
    try:
        header: list[str] = next(reader, [])
        positions = _positions(file, header, columns)
        line = reader.line_num + 1
        for row in reader:
            if row and len(row) != len(header):
                problem = f"{len(row)} columns where the header has {len(header)}"
                raise DataError(file, problem, UNPACK_AGAIN, line)
            if row:
                yield line, [row[position] for position in positions]
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(file, f"is not valid CSV: {error}", UNPACK_AGAIN, line) from None


def _positions(file: Path, header: list[str], columns: Sequence[str]) -> list[int]:
    missing = [column for column in columns if column not in header]
    if missing:
        problem = f"no column '{missing[0]}' in the header {','.join(header)!r}"
        raise DataError(file, problem, f"The first line must name the columns {','.join(columns)}.", 1)
    return [header.index(column) for column in columns]


def _first_undecodable_line(file: Path) -> int | None:
    with file.open("rb") as stream:
        for line, content in enumerate(stream, start=1):
            try:
                content.decode("utf-8")
            except UnicodeDecodeError:
                return line
    return None
