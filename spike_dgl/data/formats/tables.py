"""Reading of RecBole's tables: tab-separated text with a typed header such as ``user_id:token``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spike_dgl.data.files import read_lines, shorten
from spike_dgl.errors import DataError

TYPES = ("token", "token_seq", "float", "float_seq")
HEADER = "The header must have a name and a type per column, such as `user_id:token`, separated by tabs."


@dataclass(frozen=True)
class Table:
    """Cells of a table as text, by column.

    Parameters
    ----------
    file
        File of the table.
    types, columns
        Type and cells of each column.
    ids
        Names of the columns of ids.
    lines
        Line of each row in the file.
    """

    file: Path
    types: Mapping[str, str]
    columns: Mapping[str, Sequence[str]]
    ids: Sequence[str]
    lines: Sequence[int]

    def __len__(self) -> int:
        return len(self.lines)

    def with_cells(self, changed: Mapping[str, Sequence[str]]) -> Table:
        """Return the table with some columns replaced, without rows that have an empty cell in these."""
        kept = [all(cells) for cells in zip(*changed.values(), strict=True)]
        columns = {name: list(compress(cells, kept)) for name, cells in {**self.columns, **changed}.items()}
        return replace(self, columns=columns, lines=list(compress(self.lines, kept)))

    def check_unique(self, column: str) -> None:
        """Raise `DataError` if a column has a repeated value."""
        lines: dict[str, int] = {}
        for line, cell in zip(self.lines, self.columns[column], strict=True):
            if cell in lines:
                problem = f"the {column} {shorten(cell)} occurs twice, first in line {lines[cell]}"
                raise DataError(self.file, problem, "Keep one of the two rows.", line)
            lines[cell] = line

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a column of type float. Raises `DataError` if it has another type or a blank cell."""
        if self.types[column] != "float":
            problem = f"the column {column} has the type {self.types[column]}, expected float"
            raise DataError(self.file, problem, HEADER, 1)
        cells = self.columns[column]
        for line, cell in zip(self.lines, cells, strict=True):
            if not cell.strip():
                raise DataError(self.file, f"no {column}", "Complete the row.", line)
        # Strip as the check does: `float` rejects some white space that `str.strip` removes.
        return np.fromiter((float(cell.strip()) for cell in cells), dtype=np.float64, count=len(cells))


def read_table(file: Path, required: Sequence[str]) -> Table:
    """Read a table.

    Parameters
    ----------
    file
        File of the table.
    required
        Names of the columns of ids that it must have, of type token and without empty cells.

    Raises
    ------
    DataError
        If the header is invalid, a required column is missing, a row has too few or too many cells, or a cell of a
        float column is not a finite number. Blank cells are allowed there.
    """
    header, *rows = read_lines(file)
    types = _column_types(file, header, required)
    if not rows:
        raise DataError(file, "has a header but no rows", "Add rows, or delete the file if it is optional.")
    _check_widths(file, rows, len(types))
    cells = "\t".join(rows).split("\t")
    columns = {name: cells[position :: len(types)] for position, name in enumerate(types)}
    for name in required:
        if "" in columns[name]:
            line = columns[name].index("") + 2
            raise DataError(file, f"no {name}", "Complete or remove the row.", line)
    for name, kind in types.items():
        if kind in ("float", "float_seq"):
            _check_numbers(file, name, kind, columns[name])
    return Table(file, types, columns, required, range(2, len(rows) + 2))


def _column_types(file: Path, header: str, required: Sequence[str]) -> dict[str, str]:
    types: dict[str, str] = {}
    for field in header.split("\t"):
        name, _, kind = field.strip().partition(":")
        if not name or kind not in TYPES:
            problem = f"the column {shorten(field)} does not have one of the types {', '.join(TYPES)}"
            raise DataError(file, problem, HEADER, 1)
        if name in types:
            raise DataError(file, f"has two columns named {shorten(name)}", "Rename one of them.", 1)
        types[name] = kind
    for name in required:
        if types.get(name) != "token":
            found = f"the type {types[name]}" if name in types else f"only {', '.join(map(shorten, types))}"
            raise DataError(file, f"expected a column {name}:token, found {found}", HEADER, 1)
    return types


def _check_widths(file: Path, rows: Sequence[str], width: int) -> None:
    for line, row in enumerate(rows, start=2):
        if row.count("\t") != width - 1:
            problem = f"expected {width} cells separated by tabs, found {row.count(chr(9)) + 1}"
            raise DataError(file, problem, "Complete or remove the row.", line)


def _check_numbers(file: Path, name: str, kind: str, cells: Sequence[str]) -> None:
    """Check a column of numbers, or of sequences of numbers separated by spaces; blank cells are allowed."""
    if kind == "float" and _are_numbers(cells):
        return
    for line, cell in enumerate(cells, start=2):
        numbers = cell.split()
        if not all(map(_is_number, numbers)) or (kind == "float" and len(numbers) > 1):
            problem = f"expected a finite number as {name}, found {shorten(cell)}"
            raise DataError(file, problem, "Correct the cell, or give the column the type token.", line)


def _are_numbers(cells: Sequence[str]) -> bool:
    """Return whether every cell is one finite number; a fast check for valid columns."""
    try:
        return all(map(math.isfinite, map(float, cells)))
    except ValueError:
        return False


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
