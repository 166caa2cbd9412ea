"""Layouts of raw files, and reading of their rows some megabytes at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spike_dgl.data.prepare.csv_rows import Dialect, csv_pieces
from spike_dgl.data.prepare.json_rows import json_pieces
from spike_dgl.data.prepare.parquet_rows import parquet_pieces, parquet_schema, sort_of_type
from spike_dgl.data.prepare.part_files import extension_of, files_of, values_in
from spike_dgl.data.prepare.partitioned_rows import PartitionedPiece
from spike_dgl.data.prepare.raw_rows import Piece, Row
from spike_dgl.data.prepare.streams import open_stream
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


def layout_of(table: Path) -> Layout:
    """Return the layout given by the extension of a file, or of all files of a folder.

    Raises `DataError` if the extension is unknown, or the files of a folder have different layouts.
    """
    first, *others = files_of(table)
    layout = _layout_of_file(first)
    for file in others:
        if _layout_of_file(file) != layout:
            problem = f"has files of different formats, such as {first.name} and {file.name}"
            raise DataError(table, problem, "Put each table into a folder of its own.")
    return layout


def _layout_of_file(file: Path) -> Layout:
    suffix = extension_of(file)
    if suffix not in LAYOUTS:
        remedy = f"Use one of the extensions {', '.join(LAYOUTS)}; .gz, .zst or .zip may follow."
        raise DataError(file, f"has the unknown file extension '{suffix}'", remedy)
    return LAYOUTS[suffix]


def table_files(table: Path, layout: Layout, names: Sequence[str]) -> list[Path]:
    """Return the files of a table. Parquet files of a folder must have the columns `names`, of the same types.

    Raises `DataError` otherwise, before any row is read.
    """
    files = files_of(table)
    if layout.kind == "parquet" and len(files) > 1:
        _check_types(files, names, layout)
    return files


def pieces(file: Path, layout: Layout, names: Sequence[str], progress: bool = False) -> Iterator[Piece]:
    """Yield the rows of a file, some megabytes at a time; columns that it lacks may be in the names of its folders.

    Raises
    ------
    DataError
        If the file cannot be read, or its header lacks one of the columns `names`.
    """
    values = {name: value for name, value in values_in(file).items() if name in names}

    def check(header: Sequence[str]) -> list[str]:
        for name in values.keys() & set(header):
            del values[name]
        wanted = [name for name in names if name not in values]
        _check_header(file, header, wanted, layout)
        return wanted

    for piece in _pieces(file, layout, check, progress):
        missing = values
        if values and layout.kind == "jsonl":  # has no header
            first = next(piece.rows(), Row(0, {})).cells
            missing = {name: value for name, value in values.items() if name not in first}
        yield PartitionedPiece(piece, missing) if missing else piece


def _pieces(
    file: Path, layout: Layout, check: Callable[[Sequence[str]], list[str]], progress: bool
) -> Iterator[Piece]:
    if layout.kind == "parquet":
        yield from parquet_pieces(file, progress, check)
        return
    if layout.header is not None:
        check(layout.header)
    with open_stream(file, encoding=layout.encoding, progress=progress) as stream:
        if layout.kind == "jsonl":
            yield from json_pieces(file, stream, layout.parse)
        else:
            yield from csv_pieces(stream, Dialect(layout.delimiter, layout.quoted), layout.header, check)


def _check_types(files: Sequence[Path], names: Sequence[str], layout: Layout) -> None:
    first: dict[str, tuple[Path, str]] = {}
    for file in files:
        schema, in_path = parquet_schema(file), values_in(file)
        wanted = [name for name in names if name in schema.names or name not in in_path]
        _check_header(file, schema.names, wanted, layout)
        for name in wanted:
            sort = sort_of_type(schema.field(name).type)
            other, expected = first.setdefault(name, (file, sort)) if sort else (file, sort)
            if sort != expected:
                problem = f"column '{name}' has the type {schema.field(name).type}; in {other.name} it is {expected}"
                raise DataError(file, problem, "Write all files of a table with the same types.")


def _check_header(file: Path, header: Sequence[str], names: Sequence[str], layout: Layout) -> None:
    for name in names:
        if header.count(name) != 1:
            found = "no" if name not in header else "more than one"
            problem = f"{found} column '{name}' in the header {layout.delimiter.join(header)[:200]!r}"
            where = None if layout.kind == "parquet" else 1
            raise DataError(file, problem, _remedy(header, names, name, layout), where)


def _remedy(header: Sequence[str], names: Sequence[str], name: str, layout: Layout) -> str:
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
    must = "The file must have" if layout.kind == "parquet" else "The first line must name"
    return f"{must} the columns {','.join(names)}{hint}"
