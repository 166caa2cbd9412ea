"""Search for users and items by a part of their name."""

from __future__ import annotations

import heapq
import unicodedata
from dataclasses import dataclass

from spike_dgl.data.dataset import Vocabulary


@dataclass(frozen=True)
class Matches:
    """Rows of a vocabulary that match, best first, and the number of all matches."""

    rows: list[int]
    total: int


class NameIndex:
    """Index of the names and raw ids of a vocabulary. Search ignores case and accents."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._ids = [folded(raw) for raw in vocabulary.ids]
        self._names = [folded(name) for name in vocabulary.names]

    def search(self, query: str, limit: int) -> Matches:
        """Return the rows whose name or id contains the query.

        Order: ids or names equal to the query, names that start with it, names with a word that starts with it, the
        others. Ties are ordered by length of the name, then by row. An empty query matches all rows.
        """
        wanted = folded(query.strip())
        if not wanted:
            return Matches(list(range(min(limit, len(self._ids)))), len(self._ids))
        places = [
            (_place(wanted, raw, name), len(name), row)
            for row, (raw, name) in enumerate(zip(self._ids, self._names, strict=True))
            if wanted in name or wanted in raw
        ]
        return Matches([row for _, _, row in heapq.nsmallest(limit, places)], len(places))


def folded(text: str) -> str:
    """Remove case and accents: 'Amélie' becomes 'amelie'."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _place(wanted: str, raw: str, name: str) -> int:
    if wanted in (raw, name):
        return 0
    if name.startswith(wanted):
        return 1
    return 2 if f" {wanted}" in name else 3
