"""Reading of raw tables of any size; broken rows are counted, and too many are an error with their lines."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from spike_dgl.data.prepare.arrow import pa, pc
from spike_dgl.data.prepare.columns import Column, NotOfKindError, checked, value_of
from spike_dgl.data.prepare.layouts import Layout, layout_of, pieces, table_files
from spike_dgl.data.prepare.part_files import short_name
from spike_dgl.data.prepare.raw_rows import Piece, Row
from spike_dgl.errors import DataError, nearest

SKIP = "Correct the file, or skip up to N broken rows with broken_rows=N."
SHOWN = 5
"""Maximum number of broken rows to show; the others are only counted."""


@dataclass
class Reading:
    """Options for reading tables, and counts of broken rows and missing values.

    Parameters
    ----------
    limit
        Maximum number of rows to skip in all files together; one more is an error.
    progress
        Show a progress bar per file.
    """

    limit: int = 0
    progress: bool = False
    count: int = field(default=0, init=False)
    first: list[str] = field(default_factory=list, init=False)
    missing: dict[str, Counter[str]] = field(default_factory=dict, init=False)
    """Number of missing values by place, then by spelling."""

    def skip(self, file: Path, line: int, problem: str, rows: int = 1) -> None:
        """Count rows that cannot be read. Raises `DataError` if there are more than `limit`."""
        self.count += rows
        if len(self.first) < SHOWN:
            self.first.append(f"{short_name(file)}, line {line}: {problem}")
        if self.count > self.limit:
            if self.limit:
                before = "; ".join(self.first)
                problem = f"{problem}; more than {self.limit} broken rows, the first: {before}"
            raise DataError(file, problem, SKIP, line)

    def note_missing(self, where: str, spelling: str, times: int = 1) -> None:
        """Count a spelling of a missing value; blanks are not counted."""
        if times and spelling.strip():
            self.missing.setdefault(where, Counter())[spelling.strip()] += times


@dataclass(frozen=True)
class Batch:
    """Some rows of a table as Arrow arrays by column name, in the file's order, without broken rows."""

    columns: Mapping[str, Any]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def read_batches(
    file: Path,
    columns: Sequence[Column],
    reading: Reading,
    layout: Layout | None = None,
) -> Iterator[Batch]:
    """Read some columns of a table in bounded memory.

    Parameters
    ----------
    file
        File in CSV, TSV, JSON lines or Parquet, or a folder of such files; text files may be compressed.
    columns
        Columns to read, with their kinds.
    reading
        Counter of skipped rows.
    layout
        Layout of the file; by default that of its file extension.

    Raises
    ------
    DataError
        If the file cannot be read, lacks a column, or has more broken rows than allowed.
    """
    layout = layout or layout_of(file)
    names = [column.name for column in columns]
    empty = {column.name for column in columns if column.is_optional and layout.kind == "jsonl"}
    for part, piece in _pieces(file, names, reading, layout):
        batch = _fast(piece, columns)
        if batch is None:
            batch = _exact(part, piece, columns, reading)
        if len(batch):
            empty -= {name for name in empty if pc.any(pc.not_equal(batch.columns[name], "")).as_py()}
            yield batch
    if empty:  # batches do not distinguish a missing key from an empty value
        _check_keys(file, empty, layout)


def read_rows(
    file: Path, columns: Sequence[str], reading: Reading, layout: Layout | None = None
) -> Iterator[tuple[int, list[Any]]]:
    """Yield the line and the wanted cells of each row: text in CSV, anything (None if missing) in JSON and Parquet.

    Parameters, layouts and errors are those of `read_batches`.
    """
    for row in read_records(file, columns, reading, layout):
        yield row.line, [row.cells.get(column) for column in columns]


def read_records(
    file: Path, columns: Sequence[str], reading: Reading, layout: Layout | None = None
) -> Iterator[Row]:
    """Yield each row with all its cells; the header, or at least one row, must have `columns`."""
    first, unseen, layout = list[str](), set(columns), layout or layout_of(file)
    for part, piece in _pieces(file, columns, reading, layout):
        for row in piece.rows():
            if row.problem:
                reading.skip(part, row.line, row.problem)
                continue
            first = first or list(row.cells)
            unseen -= row.cells.keys()
            yield row
    if unseen and first:
        name = min(unseen)
        remedy = f"The first row has {', '.join(first[:12])}; {nearest(name, first)}"
        raise DataError(file, f"no row has '{name}'", remedy)


def _pieces(
    table: Path, names: Sequence[str], reading: Reading, layout: Layout
) -> Iterator[tuple[Path, Piece]]:
    """Yield the pieces of all files of a table, with their files."""
    files = table_files(table, layout, names)
    is_one = files == [table]
    bar = tqdm(files, desc=table.name, unit=" files", disable=is_one or not reading.progress)
    for file in bar:
        for piece in pieces(file, layout, names, reading.progress and is_one):
            yield file, piece


def _check_keys(file: Path, names: set[str], layout: Layout) -> None:
    """Raise `DataError` unless each of `names` is a key of at least one object in the file."""
    for row in read_records(file, sorted(names), Reading(limit=sys.maxsize), layout):
        names = names - row.cells.keys()
        if not names:
            break


def split_list(cell: str, separator: str = "|") -> list[str]:
    """Return the entries of a cell such as ``"Tom Hanks| Tim Allen"``: in order, trimmed, distinct and non-empty."""
    entries = (" ".join(entry.split()) for entry in cell.split(separator))
    return list(dict.fromkeys(entry for entry in entries if entry))


def _fast(piece: Piece, columns: Sequence[Column]) -> Batch | None:
    """Read the columns with Arrow; None if any row is irregular."""
    try:
        table = piece.table(columns)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
        return None
    arrays = {}
    for column in columns:
        array = checked(column, table.column(column.name).combine_chunks())
        if array is None:
            return None
        arrays[column.name] = array
    return Batch(arrays)


def _exact(file: Path, piece: Piece, columns: Sequence[Column], reading: Reading) -> Batch:
    """Read the columns row by row, skipping broken rows."""
    values: dict[str, list[str | int | float]] = {column.name: [] for column in columns}
    for row in piece.rows():
        try:
            cells = _cells(row, columns)
        except NotOfKindError as error:
            reading.skip(file, row.line, str(error))
            continue
        for name, cell in cells.items():
            values[name].append(cell)
    arrays = {column.name: pa.array(values[column.name], _final_type(column)) for column in columns}
    return Batch(arrays)


def _cells(row: Row, columns: Sequence[Column]) -> dict[str, str | int | float]:
    if row.problem:
        raise NotOfKindError(row.problem)
    missing = [c.name for c in columns if not c.is_optional and row.cells.get(c.name) is None]
    if missing:
        held = ", ".join(list(row.cells)[:12])
        raise NotOfKindError(f"no value for '{missing[0]}'; the row has {held or 'nothing'}")
    return {column.name: value_of(column, row.cells.get(column.name)) for column in columns}


def _final_type(column: Column) -> Any:
    is_time = column.kind in ("seconds", "milliseconds", "date")
    return pa.int64() if is_time else column.arrow_type
