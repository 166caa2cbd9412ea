"""Matching of a table's ids with known ids. A table without any match is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from spike_dgl.data.files import no_match
from spike_dgl.data.values import id_of, is_whole

Value = TypeVar("Value")


@dataclass
class Matches(Generic[Value]):
    """Lookup of a table's ids among known ids, with a count of the matches.

    Parameters
    ----------
    file, column
        File and column of the table's ids.
    known
        Values to look up, by id as spelt by `spike_dgl.data.values.id_of`.
    known_from
        Origin of the known ids, for the error message.
    """

    file: Path
    column: str
    known: Mapping[str, Value]
    known_from: str = "the interactions"
    rows: int = field(default=0, init=False)
    found: int = field(default=0, init=False)
    example: str = field(default="", init=False)

    def find(self, value: object) -> Value | None:
        """Return the value of an id, or None if it is unknown. If all known ids are whole numbers, 101.0 is 101."""
        self.rows += 1
        try:
            raw = id_of(value)
        except ValueError:
            raw = str(value)
        found = self.known.get(raw)
        if found is None and raw.endswith(".0") and self._are_whole:
            found = self.known.get(raw[:-2])
        if found is None:
            self.example = self.example or raw
        else:
            self.found += 1
        return found

    def check(self) -> None:
        """Raise `DataError`, with an example id of each, if no id matched."""
        if self.found or not self.known:
            return
        known = next(iter(self.known))
        raise no_match(self.file, self.rows, f"'{self.column}'", self.example, known, self.known_from)

    @cached_property
    def _are_whole(self) -> bool:
        return all(map(is_whole, self.known))
