"""Rows with columns whose value is in the names of their file's folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spike_dgl.data.prepare.arrow import pa
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.raw_rows import Piece, Row


@dataclass(frozen=True)
class PartitionedPiece:
    """Some rows of a file, and the value of each column that is not in it."""

    piece: Piece
    values: Mapping[str, str | None]

    def rows(self) -> Iterator[Row]:
        """Yield the rows one by one; see `Piece`."""
        for row in self.piece.rows():
            yield row if row.problem else row._replace(cells={**row.cells, **self.values})

    def table(self, columns: Sequence[Column]) -> Any:
        """Read the columns by Arrow; see `Piece`."""
        in_file = [column for column in columns if column.name not in self.values]
        if not in_file:
            raise pa.ArrowInvalid("a table without columns does not know its number of rows")
        table = self.piece.table(in_file)
        for column in columns:
            if column.name in self.values:
                value = pa.scalar(self.values[column.name], pa.string()).cast(column.arrow_type)
                table = table.append_column(column.name, pa.repeat(value, len(table)))
        return table
