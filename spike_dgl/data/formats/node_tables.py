"""Names, profiles and descriptions of nodes from RecBole's ``.user``, ``.item`` and ``.entity`` tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spike_dgl.data.formats.tables import Table, read_table
from spike_dgl.data.values import meant_values

NAME_COLUMNS = ("title", "name")
PROFILE_COLUMN = "profile"


@dataclass(frozen=True)
class NodeTable:
    """Unique raw ids of nodes and their texts by column, blank where missing, without sequences of numbers.

    `num_missing` is the number of texts that were a spelling of a missing value.
    """

    ids: Sequence[str] = ()
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    num_missing: int = 0

    @classmethod
    def from_table(cls, table: Table | None) -> NodeTable:
        """Build from a table whose required column has the nodes' ids; empty if there is no table."""
        if table is None:
            return cls()
        [id_column] = table.ids
        meant = {
            column: meant_values(table.columns[column])
            for column, kind in table.types.items()
            if column != id_column and kind != "float_seq"
        }
        texts = {column: values for column, (values, _) in meant.items()}
        return cls(table.columns[id_column], texts, sum(number for _, number in meant.values()))

    @property
    def name_column(self) -> str | None:
        """First of the columns in `NAME_COLUMNS` that the table has, or None."""
        return next((column for column in NAME_COLUMNS if column in self.texts), None)

    def names(self) -> dict[str, str]:
        """Return names by raw id, of the nodes that have one."""
        return self._cells(self.name_column) if self.name_column else {}

    def profiles(self) -> dict[str, str]:
        """Return profiles by raw id, of the nodes that have one."""
        return self._cells(PROFILE_COLUMN) if PROFILE_COLUMN in self.texts else {}

    def descriptions(self) -> dict[str, str]:
        """Return sentences such as "Gender: F. Age: Under 18." from all columns except name and profile, by raw id."""
        columns = [column for column in self.texts if column not in (self.name_column, PROFILE_COLUMN)]
        sentences: dict[str, list[str]] = {}
        for column in columns:
            label = _label(column)
            for raw, text in self._cells(column).items():
                sentences.setdefault(raw, []).append(f"{label}: {text.rstrip('.')}.")
        return {raw: " ".join(parts) for raw, parts in sentences.items()}

    def _cells(self, column: str) -> dict[str, str]:
        return {raw: text for raw, text in zip(self.ids, self.texts[column], strict=True) if text}


def read_node_table(file: Path, id_column: str) -> Table | None:
    """Read a table of nodes; None if the file does not exist. Raises `DataError` if it is broken."""
    if not file.exists():
        return None
    table = read_table(file, (id_column,))
    table.check_unique(id_column)
    return table


def _label(column: str) -> str:
    words = column.replace("_", " ").strip()
    return words[:1].upper() + words[1:]
