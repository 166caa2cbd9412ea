"""Name, profile and description of nodes in RecBole's ``.user``, ``.item`` and ``.entity`` tables."""

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
    """Raw ids of nodes, each once, and their texts by column, blank where missing; sequences of numbers are left out.

    `num_missing` counts the texts that were a spelling of a missing value.
    """

    ids: Sequence[str] = ()
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    num_missing: int = 0

    @classmethod
    def from_table(cls, table: Table | None) -> NodeTable:
        """The texts of a table whose first required column holds the nodes' ids; nothing without a table."""
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
        """The first column that may hold names, if there is one."""
        return next((column for column in NAME_COLUMNS if column in self.texts), None)

    def names(self) -> dict[str, str]:
        """Name of each node that has one."""
        return self._cells(self.name_column) if self.name_column else {}

    def profiles(self) -> dict[str, str]:
        """Profile of each node that has one."""
        return self._cells(PROFILE_COLUMN) if PROFILE_COLUMN in self.texts else {}

    def descriptions(self) -> dict[str, str]:
        """Sentences such as "Gender: F. Age: Under 18." from all columns but name and profile."""
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
    """Read a table of nodes; None if there is no such file. Raises `DataError` if it is broken."""
    if not file.exists():
        return None
    table = read_table(file, (id_column,))
    table.check_unique(id_column)
    return table


def _label(column: str) -> str:
    words = column.replace("_", " ").strip()
    return words[:1].upper() + words[1:]
