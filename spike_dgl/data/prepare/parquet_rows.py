"""Reading of rows of Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tqdm import tqdm

from spike_dgl.data.prepare.arrow import pa, parquet
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.raw_rows import Row
from spike_dgl.errors import DataError

ROWS = 1 << 17
"""Number of rows to read at a time."""


@dataclass(frozen=True)
class ParquetPiece:
    """Some rows of a Parquet file; `line` is the number of the first row."""

    line: int
    batch: Any

    def rows(self) -> Iterator[Row]:
        """Yield the rows one by one; see `Piece`."""
        for number, cells in enumerate(self.batch.to_pylist(), start=self.line):
            yield Row(number, {name: _plain(value) for name, value in cells.items()})

    def table(self, columns: Sequence[Column]) -> Any:
        """Read the columns by Arrow; see `Piece`."""
        chosen = pa.Table.from_batches([self.batch.select([column.name for column in columns])])
        fields = [
            (column.name, _type(column, field.type))
            for column, field in zip(columns, chosen.schema, strict=True)
        ]
        try:
            return chosen.cast(pa.schema(fields))
        except pa.ArrowNotImplementedError as error:
            raise pa.ArrowInvalid(str(error)) from None


def parquet_pieces(
    file: Path, progress: bool, check: Callable[[Sequence[str]], Sequence[str]]
) -> Iterator[ParquetPiece]:
    """Yield some rows at a time, of the columns that `check` returns, given all column names; if none, of all.

    Raises `DataError` if the file cannot be read.
    """
    with _readable(file), parquet.ParquetFile(file) as table:
        columns = list(check(table.schema_arrow.names)) or None
        line = 1
        bar: tqdm[Any] = tqdm(
            desc=file.name, total=table.metadata.num_rows, unit=" rows", disable=not progress
        )
        with bar:
            for batch in table.iter_batches(ROWS, columns=columns):
                yield ParquetPiece(line, batch)
                line += len(batch)
                bar.update(len(batch))


def parquet_schema(file: Path) -> Any:
    """Return the Arrow schema of a file. Raises `DataError` if it cannot be read."""
    with _readable(file):
        return parquet.read_schema(file)


def sort_of_type(found: Any) -> str:
    """Return a name for a type and all types that hold the same values; empty if it holds no value."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_null(found):
        return ""
    sorts = {
        "text": (pa.types.is_string, pa.types.is_large_string),
        "a number": (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
        "a time": (pa.types.is_date, pa.types.is_timestamp),
        "a list": (pa.types.is_list, pa.types.is_large_list),
    }
    return next((sort for sort, tests in sorts.items() if any(test(found) for test in tests)), str(found))


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(file, f"is not a readable Parquet file: {error}", "Write or copy it again.") from None


def _type(column: Column, found: Any) -> Any:
    """Return the type to read a column as. Raises `pyarrow.ArrowInvalid` if Arrow would spell values differently."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    if column.kind == "id" and (pa.types.is_floating(found) or pa.types.is_integer(found)):
        return found
    is_text = pa.types.is_string(found) or pa.types.is_large_string(found)
    if (column.kind in ("id", "text") and not is_text) or (
        column.kind != "number" and pa.types.is_boolean(found)
    ):
        raise pa.ArrowInvalid(f"{column.kind} of type {found} must be read value by value")
    return column.arrow_type


def _plain(value: Any) -> Any:
    """Convert a date or time to ISO text, and a decimal number to an integer or float."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value.isoformat() if hasattr(value, "isoformat") else value
