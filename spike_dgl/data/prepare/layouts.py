"""How a raw file is laid out, and its rows piece by piece: exactly and one by one, or fast as Arrow columns.

The exact reading is the definition, and finds the line of whatever is wrong; the fast one is tried first, and gives
up on a piece at the first thing that is out of order.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from tqdm import tqdm

from spike_dgl.data.files import shorten
from spike_dgl.data.prepare.arrow import arrow_csv, arrow_json, pa, parquet
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.streams import Stream, open_stream, unpacked_name
from spike_dgl.errors import DataError

PIECE = 1 << 24
"""Bytes that are parsed at a time."""
LONGEST_ROW = 1 << 26
"""Bytes from which on a row that does not end is a quote that somebody forgot to close."""
SEPARATOR = "\x1f"
"""Takes the place of a delimiter of several characters, which no CSV reader knows."""

csv.field_size_limit(LONGEST_ROW)


class Row(NamedTuple):
    """A row: its line, and its cells by column name, or what is wrong with it."""

    line: int
    cells: Mapping[str, Any]
    problem: str = ""


class Piece(Protocol):
    """Some rows of a file."""

    def rows(self) -> Iterator[Row]:
        """One by one, whatever is wrong with them; blank lines are left out."""

    def table(self, columns: Sequence[Column]) -> Any:
        """The columns as an Arrow table. Raises `pyarrow.ArrowInvalid` where a row is out of order."""


@dataclass(frozen=True)
class Layout:
    """How a file is written.

    Parameters
    ----------
    kind
        "csv" (any delimiter), "jsonl" (an object a line) or "parquet".
    delimiter
        Between the cells of a row.
    quoted
        Whether a cell may stand in double quotes, and then hold delimiters and line ends.
    header
        Names of the columns; None where the first line names them.
    encoding
        Of the text.
    parse
        What turns a line of "jsonl" into an object, or raises `ValueError`.
    """

    kind: Literal["csv", "jsonl", "parquet"]
    delimiter: str = ","
    quoted: bool = True
    header: tuple[str, ...] | None = None
    encoding: str = "utf-8"
    parse: Callable[[str], object] = json.loads


LAYOUTS = {
    ".csv": Layout("csv"),
    **dict.fromkeys((".tsv", ".txt", ".dat", ".inter", ".kg", ".link"), Layout("csv", "\t", quoted=False)),
    **dict.fromkeys((".jsonl", ".json", ".ndjson"), Layout("jsonl")),
    ".parquet": Layout("parquet"),
}


def layout_of(file: Path) -> Layout:
    """What the name of a file says about it. Raises `DataError` where it says nothing."""
    suffix = unpacked_name(file).suffix.lower()
    if suffix not in LAYOUTS:
        remedy = f"Give it one of the endings {', '.join(LAYOUTS)}; .gz, .zst or .zip may follow."
        raise DataError(file, f"the ending '{suffix}' does not say how it is laid out", remedy)
    return LAYOUTS[suffix]


def pieces(file: Path, layout: Layout, names: Sequence[str], progress: bool = False) -> Iterator[Piece]:
    """The rows of a file, some megabytes at a time.

    Raises
    ------
    DataError
        If it cannot be read, or its header lacks one of the columns `names`.
    """
    if layout.kind == "parquet":
        yield from _parquet_pieces(file, names, progress)
        return
    with open_stream(file, encoding=layout.encoding, progress=progress) as stream:
        if layout.kind == "jsonl":
            yield from (
                JsonPiece(line, content, layout.parse) for line, content in _whole_lines(stream, quoted=False)
            )
            return
        header = layout.header
        if header is not None:
            _check_header(file, header, names)
        for line, content in _whole_lines(stream, layout.quoted):
            if header is None:
                header, line, content = _take_header(content, layout)
                _check_header(file, header, names)
            yield CsvPiece(line, content, header, layout)
        if header is None:
            _check_header(file, (), names)


@dataclass(frozen=True)
class CsvPiece:
    """Rows of cells between delimiters."""

    line: int
    content: bytes
    header: tuple[str, ...]
    layout: Layout

    def rows(self) -> Iterator[Row]:
        """As in `Piece`."""
        lines: list[tuple[int, str]] = []
        for number, text in _decoded(self.line, self.content):
            if text is None:
                yield Row(number, {}, "is not UTF-8 text")
            else:
                lines.append((number, text))
        start = 0
        while start < len(lines):
            texts = (text for _, text in itertools.islice(lines, start, None))
            reader, first = _csv_reader(texts, self.layout), start
            try:
                for cells in reader:
                    if cells:
                        yield self._row(lines[start][0], cells)
                    start = first + reader.line_num
            except csv.Error as error:  # a quote that stays open takes its own line along, no other
                yield Row(lines[start][0], {}, f"is not valid CSV: {error}")
                start += 1

    def _row(self, line: int, cells: list[str]) -> Row:
        if len(cells) != len(self.header):
            problem = f"{len(cells)} columns where the header has {len(self.header)}"
            return Row(line, {}, problem)
        return Row(line, dict(zip(self.header, cells, strict=True)))

    def table(self, columns: Sequence[Column]) -> Any:
        """As in `Piece`."""
        _check_text(self.content)
        if self.layout.quoted and self.content.count(b'"') % 2:
            raise pa.ArrowInvalid("a quote stays open")  # Arrow would let it end with the file
        delimiter = _single(self.layout.delimiter)
        content = self.content.replace(self.layout.delimiter.encode(), delimiter.encode())
        return arrow_csv.read_csv(
            _in_arrow_memory(content),
            read_options=arrow_csv.ReadOptions(column_names=self.header, block_size=len(content) + 1),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if self.layout.quoted else False,
                newlines_in_values=self.layout.quoted,
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=[column.name for column in columns],
                column_types={column.name: column.arrow_type for column in columns},
                null_values=[""],
            ),
        )


@dataclass(frozen=True)
class JsonPiece:
    """Lines that hold a JSON object each."""

    line: int
    content: bytes
    parse: Callable[[str], object]

    def rows(self) -> Iterator[Row]:
        """As in `Piece`."""
        for number, text in _decoded(self.line, self.content):
            if text is None:
                yield Row(number, {}, "is not UTF-8 text")
            elif text.strip():
                yield _parsed(number, text, self.parse)

    def table(self, columns: Sequence[Column]) -> Any:
        """As in `Piece`."""
        _check_text(self.content)
        first = next(self.rows(), Row(0, {})).cells
        fields = [(column.name, _json_type(column, first.get(column.name))) for column in columns]
        table = arrow_json.read_json(
            _in_arrow_memory(self.content),
            read_options=arrow_json.ReadOptions(block_size=len(self.content) + 1),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore"
            ),
        )
        return table.cast(pa.schema([(column.name, column.arrow_type) for column in columns]))


@dataclass(frozen=True)
class ParquetPiece:
    """Rows of a Parquet file; a line is a row's number."""

    line: int
    batch: Any

    def rows(self) -> Iterator[Row]:
        """As in `Piece`."""
        for number, cells in enumerate(self.batch.to_pylist(), start=self.line):
            yield Row(number, {name: _plain(value) for name, value in cells.items()})

    def table(self, columns: Sequence[Column]) -> Any:
        """As in `Piece`."""
        schema = pa.schema([(column.name, column.arrow_type) for column in columns])
        chosen = self.batch.select([column.name for column in columns])
        try:
            return pa.Table.from_batches([chosen]).cast(schema)
        except pa.ArrowNotImplementedError as error:
            raise pa.ArrowInvalid(str(error)) from None


def _whole_lines(stream: Stream, quoted: bool) -> Iterator[tuple[int, bytes]]:
    """Pieces that end where a row ends, and the line that each begins in."""
    line, rest = 1, b""
    while content := stream.read(PIECE):
        content = rest + content
        end = _end_of_row(content, quoted)
        if not end and len(content) > LONGEST_ROW:
            end = content.rfind(b"\n") + 1
        if end:
            yield line, content[:end]
            line += content.count(b"\n", 0, end)
        rest = content[end:]
    if rest:
        yield line, rest


def _end_of_row(content: bytes, quoted: bool) -> int:
    """Where the last whole row ends, 0 if none does: a line end with an even number of quotes before it."""
    end = content.rfind(b"\n") + 1
    odd = quoted and content.count(b'"', 0, end) % 2 == 1
    while end and odd:
        before = content.rfind(b"\n", 0, end - 1) + 1
        odd ^= content.count(b'"', before, end) % 2 == 1
        end = before
    return end


def _take_header(content: bytes, layout: Layout) -> tuple[tuple[str, ...], int, bytes]:
    first, _, rest = content.partition(b"\n")
    header: list[str] = []
    with suppress(csv.Error, UnicodeDecodeError):  # a broken header names no column
        header = next(_csv_reader([first.decode()], layout), [])
    return tuple(name.strip() for name in header), 2, rest


def _check_header(file: Path, header: Sequence[str], names: Sequence[str]) -> None:
    for name in names:
        if header.count(name) != 1:
            found = "no" if name not in header else "more than one"
            problem = f"{found} column '{name}' in the header {','.join(header)[:200]!r}"
            raise DataError(file, problem, f"The first line must name the columns {','.join(names)}.", 1)


def _csv_reader(texts: Iterator[str] | list[str], layout: Layout) -> Any:
    delimiter = _single(layout.delimiter)
    quoting = csv.QUOTE_MINIMAL if layout.quoted else csv.QUOTE_NONE
    return csv.reader(
        (text.replace(layout.delimiter, delimiter) for text in texts),
        delimiter=delimiter,
        quoting=quoting,  # type: ignore[arg-type]
        strict=True,
    )


def _single(delimiter: str) -> str:
    return delimiter if len(delimiter) == 1 else SEPARATOR


def _decoded(line: int, content: bytes) -> Iterator[tuple[int, str | None]]:
    """Number and text of each line, None where it is not UTF-8."""
    for number, part in enumerate(content.removesuffix(b"\n").split(b"\n"), start=line):
        try:
            yield number, part.decode() + "\n"
        except UnicodeDecodeError:
            yield number, None


def _in_arrow_memory(content: bytes) -> Any:
    """A copy for Arrow to read. A thread of Arrow that let go of a Python object while Python exits would abort it."""
    stream = pa.BufferOutputStream()
    stream.write(content)
    return pa.BufferReader(stream.getvalue())


def _check_text(content: bytes) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid(str(error)) from None


def _parsed(line: int, text: str, parse: Callable[[str], object]) -> Row:
    try:
        found = parse(text)
    except ValueError as error:
        return Row(line, {}, f"is not valid JSON: {getattr(error, 'msg', error)}")
    except RecursionError:
        return Row(line, {}, "is not valid JSON: nested too deep")
    if not isinstance(found, dict):
        return Row(line, {}, f"expected a JSON object, found {shorten(text.strip())}")
    return Row(line, found)


def _json_type(column: Column, example: object) -> Any:
    """Ids may be numbers in JSON; Arrow wants to know beforehand."""
    is_number = isinstance(example, int) and not isinstance(example, bool)
    return pa.int64() if column.kind == "id" and is_number else column.arrow_type


def _plain(value: Any) -> Any:
    """A moment as the text that says it."""
    return value.isoformat() if hasattr(value, "isoformat") else value


def _parquet_pieces(file: Path, names: Sequence[str], progress: bool) -> Iterator[ParquetPiece]:
    try:
        table = parquet.ParquetFile(file)
        _check_header(file, table.schema_arrow.names, names)
        line = 1
        bar: tqdm[Any] = tqdm(
            desc=file.name, total=table.metadata.num_rows, unit=" rows", disable=not progress
        )
        with bar:
            for batch in table.iter_batches(1 << 17, columns=list(names)):
                yield ParquetPiece(line, batch)
                line += len(batch)
                bar.update(len(batch))
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(file, f"is not a readable Parquet file: {error}", "Write or copy it again.") from None
