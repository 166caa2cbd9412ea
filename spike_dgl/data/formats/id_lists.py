"""KGAT-style lists of raw ids and row numbers, and the number of rows if there is no list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spike_dgl.data.files import read_lines, shorten
from spike_dgl.data.raw import IdSource
from spike_dgl.data.values import corrected_ids
from spike_dgl.errors import DataError

ALLOWED_GAPS = {"relation": 1_000}
"""Maximum number of unused rows by kind, besides nine per used row. Low for relations: each is two edge types."""
ALLOWED_GAP = 100_000
"""Maximum number of unused rows of all other kinds."""


def read_id_list(file: Path) -> tuple[str, ...]:
    """Return raw ids in row order, from a list with the header ``org_id remap_id``.

    Further columns are ignored. Raw ids may contain spaces.
    """
    header, *lines = read_lines(file)
    columns = header.split()
    if columns[:2] != ["org_id", "remap_id"]:
        problem = f"expected the header 'org_id remap_id', found {shorten(header)}"
        raise DataError(file, problem, "Add the header line.", 1)
    if not lines:
        raise DataError(file, "has a header but no rows", "Add a line per row, or delete the file.")
    raw_ids: dict[int, str] = {}
    for number, line in enumerate(lines, start=2):
        raw, row = _parse_line(file, number, line, len(columns))
        if row >= len(lines) or row in raw_ids:
            problem = f"the row number {row} is repeated or not in the range 0 to {len(lines) - 1}"
            raise DataError(file, problem, "Number the rows from 0, each number once.", number)
        raw_ids[row] = raw
    meant = {raw: number for raw, number in corrected_ids(raw_ids.values()).items() if number}
    ordered = tuple(meant.get(raw_ids[row], raw_ids[row]) for row in range(len(lines)))
    _check_different(file, ordered)
    return ordered


def last_row(sources: Sequence[IdSource]) -> int:
    """Return the largest row that the files mention, -1 if there is none.

    Raises
    ------
    DataError
        If it is so large that the ids are probably raw ids instead of row numbers.
    """
    filled = [source for source in sources if source.ids.size]
    if not filled:
        return -1
    source = max(filled, key=lambda candidate: int(candidate.ids.max()) + candidate.offset)
    largest = int(source.ids.max())
    rows = np.concatenate([candidate.ids + candidate.offset for candidate in filled])
    different = len(np.unique(rows))
    if largest > ALLOWED_GAPS.get(source.kind, ALLOWED_GAP) + 10 * different:
        kind = source.kind
        problem = f"{kind} {largest} is too large: there are only {different} different {kind} ids"
        line = source.line(int(source.ids.argmax()))
        raise DataError(source.file, problem, "Renumber the ids from 0 without gaps.", line)
    return largest + source.offset


def _parse_line(file: Path, number: int, line: str, num_columns: int) -> tuple[str, int]:
    fields = line.rsplit(None, num_columns - 1)
    if len(fields) == num_columns:
        raw, row = fields[0].strip(), fields[1]
        if raw and row.isascii() and row.isdigit() and len(row) < 10:
            return raw, int(row)
    problem = f"expected a raw id and a row number, found {shorten(line)}"
    raise DataError(file, problem, "Complete or remove the line.", number)


def _check_different(file: Path, raw_ids: Sequence[str]) -> None:
    rows: dict[str, int] = {}
    for row, raw in enumerate(raw_ids):
        if raw in rows:
            problem = f"rows {rows[raw]} and {row} have the same raw id {shorten(raw)}"
            raise DataError(file, problem, "Give every row a different id.")
        rows[raw] = row
