"""Rows of further tables and the ids that they are about. A table that matches nothing is an error."""

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
    """Looks up a table's ids among those that are known, and counts what it finds.

    Parameters
    ----------
    file, column
        Where the table's ids stand.
    known
        What is looked for, by id as `spike_dgl.data.values.id_of` spells it.
    known_from
        Where these ids are from, for the error.
    """

    file: Path
    column: str
    known: Mapping[str, Value]
    known_from: str = "the interactions"
    rows: int = field(default=0, init=False)
    found: int = field(default=0, init=False)
    example: str = field(default="", init=False)

    def find(self, value: object) -> Value | None:
        """The known thing whose id this is. Where all known ids are whole numbers, 101.0 is 101."""
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
        """Raise `DataError`, which shows an id of each side, if nothing was found."""
        if self.found or not self.known:
            return
        known = next(iter(self.known))
        raise no_match(self.file, self.rows, f"'{self.column}'", self.example, known, self.known_from)

    @cached_property
    def _are_whole(self) -> bool:
        return all(map(is_whole, self.known))
