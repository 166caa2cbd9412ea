"""Reading of rows that are JSON objects: one per line, or the elements of an array."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spike_dgl.data.prepare.raw_rows as raw_rows
from spike_dgl.data.files import COPY_AGAIN, shorten
from spike_dgl.data.prepare.arrow import arrow_json, pa
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.raw_rows import LONGEST_ROW, Row, check_text, decoded_lines, in_arrow_memory
from spike_dgl.data.prepare.streams import Stream
from spike_dgl.errors import DataError

Parse = Callable[[str], object]

FIRST = 1 << 16
"""Number of bytes to read to detect an array."""
_BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class JsonPiece:
    """JSON objects, one per line of `content`; `numbers` are their line numbers in the file."""

    numbers: Sequence[int]
    content: bytes
    parse: Parse = json.loads

    def rows(self) -> Iterator[Row]:
        """Yield the rows one by one; see `Piece`."""
        for number, text in zip(self.numbers, decoded_lines(self.content), strict=False):
            if text is None:
                yield Row(number, {}, "is not UTF-8 text")
            elif text.strip():
                yield _parsed(number, text, self.parse)

    def table(self, columns: Sequence[Column]) -> Any:
        """Read the columns by Arrow; see `Piece`."""
        check_text(self.content)
        first = next(self.rows(), Row(0, {})).cells
        fields = [(column.name, _type(column, first.get(column.name))) for column in columns]
        table = arrow_json.read_json(
            in_arrow_memory(self.content),
            read_options=arrow_json.ReadOptions(block_size=len(self.content) + 1),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore"
            ),
        )
        final = [
            (column.name, found if column.kind == "id" else column.arrow_type)
            for column, (_, found) in zip(columns, fields, strict=True)
        ]
        return table.cast(pa.schema(final))


def json_pieces(file: Path, stream: Stream, parse: Parse) -> Iterator[JsonPiece]:
    """Yield some megabytes of objects at a time. Raises `DataError` if an array cannot be read."""
    start = b""
    while not start.strip() and (block := stream.read(min(FIRST, raw_rows.PIECE))):
        start += block
    if start.lstrip().startswith(b"["):
        yield from _of_array(file, start, stream)
    else:
        yield from _of_lines(start, stream, parse)


def _of_lines(start: bytes, stream: Stream, parse: Parse) -> Iterator[JsonPiece]:
    line, rest, content = 1, b"", start
    while len(content) > len(rest):
        end = content.rfind(b"\n") + 1
        if end:
            yield JsonPiece(range(line, sys.maxsize), content[:end], parse)
            line += content.count(b"\n", 0, end)
        rest = content[end:]
        content = rest + stream.read(raw_rows.PIECE)
    if rest:
        yield JsonPiece(range(line, sys.maxsize), rest, parse)


def _of_array(file: Path, start: bytes, stream: Stream) -> Iterator[JsonPiece]:
    numbers, texts, size = list[int](), list[bytes](), 0
    for line, text in _elements(file, start, stream):
        numbers.append(line)
        texts.append(text.replace("\n", " ").encode())
        size += len(text)
        if size >= raw_rows.PIECE:
            yield JsonPiece(numbers, b"\n".join(texts))
            numbers, texts, size = [], [], 0
    if texts:
        yield JsonPiece(numbers, b"\n".join(texts))


def _elements(file: Path, start: bytes, stream: Stream) -> Iterator[tuple[int, str]]:
    """Yield the line where each element of an array starts, and its text."""
    decode, read_on = json.JSONDecoder().raw_decode, _decoded(file, start, stream)
    text = next(read_on)
    place = text.index("[") + 1
    line = 1 + text.count("\n", 0, place)
    while True:
        begin = _BETWEEN.match(text, place).end()  # type: ignore[union-attr]
        line += text.count("\n", place, begin)
        if text[begin : begin + 1] == "]":
            break
        try:
            _, place = decode(text, begin)
        except (ValueError, RecursionError) as error:
            more = next(read_on, "") if len(text) - begin < LONGEST_ROW else ""
            if not more:
                problem = f"has an array that is incomplete or not valid JSON: {getattr(error, 'msg', error)}"
                raise DataError(file, problem, COPY_AGAIN, line) from None
            text, place = text[begin:] + more, 0
            continue
        yield line, text[begin:place]
        line += text.count("\n", begin, place)
    if (text[begin + 1 :] + "".join(read_on)).strip():
        raise DataError(
            file, "has text after the end of its array", "Write one array, or one object per line.", line
        )


def _decoded(file: Path, start: bytes, stream: Stream) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    block = start
    while block:
        try:
            if text := decoder.decode(block):
                yield text
        except UnicodeDecodeError:
            raise DataError(file, "is not UTF-8 text", "Set its encoding with encoding=...") from None
        block = stream.read(raw_rows.PIECE)


def _parsed(line: int, text: str, parse: Parse) -> Row:
    try:
        found = parse(text)
    except ValueError as error:
        hint = "; each object must be on one line" if text.strip() == "{" else ""
        return Row(line, {}, f"is not valid JSON: {getattr(error, 'msg', error)}{hint}")
    except RecursionError:
        return Row(line, {}, "is not valid JSON: nested too deeply")
    if not isinstance(found, dict):
        return Row(line, {}, f"expected a JSON object, found {shorten(text.strip())}")
    return Row(line, found)


def _type(column: Column, example: object) -> Any:
    """Return the type in which Arrow reads a column; ids and ratings can have several types."""
    if column.kind == "number" and isinstance(example, bool):
        return pa.bool_()
    if column.kind == "id" and isinstance(example, int | float) and not isinstance(example, bool):
        return pa.int64() if isinstance(example, int) else pa.float64()
    return column.arrow_type
