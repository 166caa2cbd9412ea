"""Layouts of raw files, and reading of their rows some megabytes at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spike_dgl.data.prepare.csv_rows import Dialect, csv_pieces
from spike_dgl.data.prepare.json_rows import json_pieces
from spike_dgl.data.prepare.parquet_rows import parquet_pieces
from spike_dgl.data.prepare.raw_rows import Piece
from spike_dgl.data.prepare.streams import open_stream, unpacked_name
from spike_dgl.errors import DataError, nearest

DELIMITERS = {",": "','", ";": "';'", "\t": "'\\t'", "|": "'|'"}
"""Common delimiters, and their spelling in YAML."""


@dataclass(frozen=True)
class Layout:
    """Layout of a file.

    Parameters
    ----------
    kind
        "csv" (any delimiter), "jsonl" (one object per line, or an array of objects) or "parquet".
    delimiter
        Delimiter between the cells of a row.
    quoted
        Whether cells may be in double quotes, and then contain delimiters and line ends.
    header
        Column names; None if the first line has them.
    encoding
        Text encoding.
    parse
        Function that parses a line of "jsonl", or raises `ValueError`.
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
    """Return the layout given by a file's extension. Raises `DataError` if the extension is unknown."""
    suffix = unpacked_name(file).suffix.lower()
    if suffix not in LAYOUTS:
        remedy = f"Use one of the extensions {', '.join(LAYOUTS)}; .gz, .zst or .zip may follow."
        raise DataError(file, f"has the unknown file extension '{suffix}'", remedy)
    return LAYOUTS[suffix]


def pieces(file: Path, layout: Layout, names: Sequence[str], progress: bool = False) -> Iterator[Piece]:
    """Yield the rows of a file, some megabytes at a time.

    Raises
    ------
    DataError
        If the file cannot be read, or its header lacks one of the columns `names`.
    """

    def check(header: Sequence[str]) -> None:
        _check_header(file, header, names, layout)

    if layout.kind == "parquet":
        yield from parquet_pieces(file, names, progress, check)
        return
    if layout.header is not None:
        check(layout.header)
    with open_stream(file, encoding=layout.encoding, progress=progress) as stream:
        if layout.kind == "jsonl":
            yield from json_pieces(file, stream, layout.parse)
        else:
            yield from csv_pieces(stream, Dialect(layout.delimiter, layout.quoted), layout.header, check)


def _check_header(file: Path, header: Sequence[str], names: Sequence[str], layout: Layout) -> None:
    for name in names:
        if header.count(name) != 1:
            found = "no" if name not in header else "more than one"
            problem = f"{found} column '{name}' in the header {layout.delimiter.join(header)[:200]!r}"
            raise DataError(file, problem, _remedy(header, names, name), 1)


def _remedy(header: Sequence[str], names: Sequence[str], name: str) -> str:
    """Return the likely remedy for a header without a required column."""
    if any("\0" in column for column in header):
        return (
            "It looks like UTF-16 without a byte order mark: set the encoding, such as encoding: utf-16-le."
        )
    line = header[0] if len(header) == 1 else ""
    for delimiter, spelling in DELIMITERS.items():
        if name in line.split(delimiter):
            return f"It has another delimiter: set delimiter: {spelling}."
    hint = f"; {nearest(name, header)}" if header and name not in header else "."
    return f"The first line must name the columns {','.join(names)}{hint}"
