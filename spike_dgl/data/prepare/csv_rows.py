"""Reading of CSV rows. Python's csv module is the reference; Arrow is used where both are sure to agree."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import spike_dgl.data.prepare.raw_rows as raw_rows
from spike_dgl.data.prepare.arrow import arrow_csv, pa
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.raw_rows import LONGEST_ROW, Row, check_text, decoded_lines, in_arrow_memory
from spike_dgl.data.prepare.streams import Stream

SLICE = 1 << 18
"""Number of bytes to search for quotes at a time; fits into the processor's cache."""
SEPARATOR = "\x1f"
"""Replacement for a delimiter of several characters, which CSV readers do not support."""

OPEN = "unexpected end of data"
"""Error message of Python's reader for a quote that is not closed."""
NO_TEXT = "is not UTF-8 text"
NO_CSV = (
    "is not valid CSV: a quote is not closed at the end of its cell, or a carriage return is not in quotes"
)
"""One message for both errors, since which one is found first depends on where the piece ends."""

csv.field_size_limit(LONGEST_ROW)


@dataclass(frozen=True)
class Dialect:
    """Delimiter, and whether cells may be in double quotes and then contain delimiters and line ends."""

    delimiter: str = ","
    quoted: bool = True

    @property
    def single(self) -> str:
        """Delimiter as one character."""
        return self.delimiter if len(self.delimiter) == 1 else SEPARATOR

    def reader(self, lines: Iterable[str]) -> Any:
        """Return Python's CSV reader of lines."""
        if len(self.delimiter) > 1:
            lines = (line.replace(self.delimiter, SEPARATOR) for line in lines)
        quoting = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE
        return csv.reader(lines, delimiter=self.single, quoting=quoting, strict=True)  # type: ignore[arg-type]

    def is_regular(self, content: bytes) -> bool:
        """Return whether each quote opens a cell, closes one, or is doubled inside one, so that all readers agree."""
        if not self.quoted or b'"' not in content:
            return True
        if len(self.delimiter) > 1 or _has_lone_returns(content, content.rfind(b"\n") + 1):
            return False
        codes, number = np.frombuffer(content, np.uint8), 0
        beside = np.zeros(256, dtype=bool)
        beside[list(b'\n\r"' + self.delimiter.encode())] = True
        for start in range(0, len(codes), SLICE):
            quotes = np.flatnonzero(codes[start : start + SLICE] == ord('"')) + start
            opening, closing = quotes[number % 2 :: 2], quotes[1 - number % 2 :: 2]
            before, after = opening[opening > 0] - 1, closing[closing + 1 < len(codes)] + 1
            if not (beside[codes[before]].all() and beside[codes[after]].all()):
                return False
            number += len(quotes)
        return True


class _Parsed(NamedTuple):
    """Row of cells in lines `start` to `end` - 1 (counted from 0), or the CSV reader's error message."""

    start: int
    end: int
    cells: list[str]
    problem: str = ""


@dataclass(frozen=True)
class CsvPiece:
    """Some rows of a CSV file; `is_regular` is the result of `Dialect.is_regular`."""

    line: int
    content: bytes
    header: tuple[str, ...]
    dialect: Dialect
    is_regular: bool

    def rows(self) -> Iterator[Row]:
        """Yield the rows one by one; see `Piece`."""
        for row in _parsed(list(decoded_lines(self.content)), self.dialect):
            if row.cells or row.problem:
                yield self._row(self.line + row.start, row.cells, row.problem)

    def _row(self, line: int, cells: list[str], problem: str) -> Row:
        if problem:
            return Row(line, {}, problem if problem == NO_TEXT else NO_CSV)
        if len(cells) != len(self.header):
            return Row(line, {}, f"{len(cells)} columns where the header has {len(self.header)}")
        if len(self.dialect.delimiter) > 1:
            cells = [cell.replace(SEPARATOR, self.dialect.delimiter) for cell in cells]
        return Row(line, dict(zip(self.header, cells, strict=True)))

    def table(self, columns: Sequence[Column]) -> Any:
        """Read the columns by Arrow; see `Piece`."""
        dialect, content = self.dialect, self.content
        check_text(content)
        if not self.is_regular or (dialect.quoted and content.count(b'"') % 2):
            raise pa.ArrowInvalid("Arrow reads these quotes differently")
        if _has_lone_returns(content, len(content)):
            raise pa.ArrowInvalid("Arrow treats a carriage return as the end of a line")
        if len(dialect.delimiter) > 1:
            content = content.replace(dialect.delimiter.encode(), SEPARATOR.encode())
        return arrow_csv.read_csv(
            in_arrow_memory(content),
            read_options=arrow_csv.ReadOptions(column_names=self.header, block_size=len(content) + 1),
            parse_options=arrow_csv.ParseOptions(
                delimiter=dialect.single,
                quote_char='"' if dialect.quoted else False,
                newlines_in_values=dialect.quoted,
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=[column.name for column in columns],
                column_types={column.name: column.arrow_type for column in columns},
                null_values=[""],
            ),
        )


def csv_pieces(
    stream: Stream,
    dialect: Dialect,
    header: tuple[str, ...] | None,
    check: Callable[[Sequence[str]], object],
) -> Iterator[CsvPiece]:
    """Yield pieces that end at the end of a row; without `header`, `check` is called with the first row."""
    line, rest, more = 1, b"", True
    while more:
        content = rest + stream.read(raw_rows.PIECE)
        more = len(content) > len(rest)
        if header is None:
            if more and b"\n" not in content.lstrip(b"\r\n"):
                rest = content
                continue
            header, line, content = _take_header(content, dialect)
            check(header)
        is_regular = dialect.is_regular(content)
        end = len(content)
        if more:
            end = _end_of_row(content, dialect) if is_regular else _exact_end_of_row(content, dialect)
            if not end and len(content) > LONGEST_ROW:
                end = content.rfind(b"\n") + 1
        if end or not more:
            yield CsvPiece(line, content[:end], header, dialect, is_regular)
            line += content.count(b"\n", 0, end)
        rest = content[end:]


def _take_header(content: bytes, dialect: Dialect) -> tuple[tuple[str, ...], int, bytes]:
    """Return the names in the first non-blank line, the number of the next line, and the remaining content."""
    first, _, rest = content.lstrip(b"\r\n").partition(b"\n")
    line = 1 + content.count(b"\n", 0, len(content) - len(rest))
    header: list[str] = []
    with suppress(csv.Error, UnicodeDecodeError):  # a broken header has no column names
        header = next(dialect.reader([first.decode()]), [])
    return tuple(name.strip() for name in header), line, rest


def _has_lone_returns(content: bytes, end: int) -> bool:
    """Return whether a carriage return is not followed by a newline character."""
    return b"\r" in content and content.count(b"\r", 0, end) > content.count(b"\r\n", 0, end)


def _end_of_row(content: bytes, dialect: Dialect) -> int:
    """Return the end of the last complete row, 0 if there is none; the number of quotes before it is even."""
    end = content.rfind(b"\n") + 1
    odd = dialect.quoted and content.count(b'"', 0, end) % 2 == 1
    while end and odd:
        before = content.rfind(b"\n", 0, end - 1) + 1
        odd ^= content.count(b'"', before, end) % 2 == 1
        end = before
    return end


def _exact_end_of_row(content: bytes, dialect: Dialect) -> int:
    """Return the end of the last complete row, as Python's reader finds it; 0 if there is none."""
    ends = np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n")) + 1
    last = 0
    for row in _parsed(list(decoded_lines(content[: ends[-1]])), dialect) if len(ends) else ():
        if row.problem == OPEN:
            break  # the row may continue
        last = row.end
    return int(ends[last - 1]) if last else 0


def _parsed(lines: Sequence[str | None], dialect: Dialect) -> Iterator[_Parsed]:
    """Yield the rows of some lines. A quote that is not closed makes only its own line invalid."""
    start = 0
    while start < len(lines):
        if lines[start] is None:
            yield _Parsed(start, start + 1, [], NO_TEXT)
            start += 1
            continue
        texts = itertools.takewhile(lambda text: text is not None, itertools.islice(lines, start, None))
        reader, first = dialect.reader(texts), start  # type: ignore[arg-type]
        try:
            for cells in reader:
                yield _Parsed(start, first + reader.line_num, cells)
                start = first + reader.line_num
        except csv.Error as error:
            yield _Parsed(start, start + 1, [], str(error))
            start += 1
