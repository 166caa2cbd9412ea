"""Layouts of raw files, and their rows some megabytes at a time."""

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
"""Common delimiters, and how a setting spells them."""


@dataclass(frozen=True)
class Layout:
    """How a file is written.

    Parameters
    ----------
    kind
        "csv" (any delimiter), "jsonl" (an object a line, or an array of objects) or "parquet".
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
    """The layout that the name of a file says. Raises `DataError` where it says none."""
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
    """Say what makes a header name the columns, as far as it shows."""
    if any("\0" in column for column in header):
        return "It looks like UTF-16 without its mark: name the encoding, such as encoding: utf-16-le."
    line = header[0] if len(header) == 1 else ""
    for delimiter, spelling in DELIMITERS.items():
        if name in line.split(delimiter):
            return f"Its columns are separated otherwise: delimiter: {spelling}."
    hint = f"; {nearest(name, header)}" if header and name not in header else "."
    return f"The first line must name the columns {','.join(names)}{hint}"
