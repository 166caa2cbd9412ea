"""What RecBole's ``.user``, ``.item`` and ``.entity`` tables tell of a node: name, profile, description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spike_dgl.data.formats.tables import read_table

NAME_COLUMNS = ("title", "name")
PROFILE_COLUMN = "profile"


@dataclass(frozen=True)
class NodeTable:
    """Raw ids of nodes, each once, and their texts by column; sequences of numbers are left out."""

    ids: Sequence[str]
    texts: Mapping[str, Sequence[str]]

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
        cells = zip(self.ids, self.texts[column], strict=True)
        return {raw: text.strip() for raw, text in cells if text.strip()}


def read_node_table(file: Path, id_column: str) -> NodeTable:
    """Read a table of nodes; an empty one if there is no such file. Raises `DataError` if it is broken."""
    if not file.exists():
        return NodeTable([], {})
    table = read_table(file, (id_column,))
    table.check_unique(id_column)
    texts = {
        column: table.columns[column]
        for column, kind in table.types.items()
        if column != id_column and kind != "float_seq"
    }
    return NodeTable(table.columns[id_column], texts)


def _label(column: str) -> str:
    words = column.replace("_", " ").strip()
    return words[:1].upper() + words[1:]
