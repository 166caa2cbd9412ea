"""Titles of items inside a query: "films like Alien, but funny"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from spike_dgl.profiles.terms import plain
from spike_dgl.typing import IndexArray

WORD = re.compile(r"\w+")
CUE = re.compile(
    r"(?<!\bnot )(?<!\bnothing )\b(?:like|similar to|such as|reminiscent of|in the style of)\b[\s:]*[\"“«]?|[\"“«]",
    re.IGNORECASE,
)
"""Words, or an opening quotation mark, after which a title is expected. A title elsewhere is words like any others."""
JOINED = re.compile(r"[\"”»]?[\s,.]*(?:\b(?:and|or)\b|&|,)\s*[\"“«]?", re.IGNORECASE)
"""Characters between two titles."""
CLOSED = re.compile(
    r"\W*$|\s*[^\w\s'’-]|\s+(?:and|or|but|with|without|from|in|for|only|that|which|by|about|set)\b",
    re.IGNORECASE,
)
"""Characters after a title. Without them a longer phrase follows, as in "like alien invasions"."""
FILLERS = frozenset(("a", "an", "and", "the"))
"""Words that may be missing in a title, or be written as an ampersand."""
ASKING = re.compile(
    r"(?:film|movie|item|product|book|game|song|artist|band|thing|other)s?|something|anything|more|any|some|an?|the|i|me|to"
    r"|show|give|find|recommend|suggest|would|want|need|watch|see|read|play|listen|please",
    re.IGNORECASE,
)
"""Words that only say that something is asked for; beside a title they match nothing."""


@dataclass(frozen=True)
class Question:
    """A query, read.

    Parameters
    ----------
    liked
        Rows of the items that it names as examples.
    rest
        The query without these names.
    """

    liked: tuple[int, ...]
    rest: str


@dataclass(frozen=True)
class Titles:
    """Index of item names.

    A name is found in full, without what stands in brackets or after a colon, and by what stands in brackets, such as
    an original title. Case, accents, articles and punctuation do not count. Of several items with the same title, the
    most popular one is meant.

    Parameters
    ----------
    names
        Names [I] of the items.
    popularity
        Number of training users [I] of the items.
    """

    names: Sequence[str]
    popularity: IndexArray = field(repr=False)

    def read(self, query: str) -> Question:
        """Find the titles that a query gives as examples.

        Examples
        --------
        >>> import numpy as np
        >>> titles = Titles(["Heat (1995)", "Toy Story 2 (1999)", "The Matrix (1999)"], np.array([3, 2, 1]))
        >>> titles.read("scary films like toy story 2 and the matrix, from Japan")
        Question(liked=(1, 2), rest='scary from Japan')
        >>> titles.read("summer heat")
        Question(liked=(), rest='summer heat')
        """
        liked: list[int] = []
        rest, start = [], 0
        while cue := CUE.search(query, start):
            found, end = self._titles_at(query, cue.end())
            rest.append(query[start : cue.start() if found else cue.end()])
            liked, start = [*liked, *found], end
        if not liked:
            return Question((), query)
        words = re.findall(r"[\w'’-]+", " ".join([*rest, query[start:]]))
        return Question(
            tuple(dict.fromkeys(liked)), " ".join(word for word in words if not ASKING.fullmatch(word))
        )

    def with_names(self, names: Sequence[str]) -> Titles:
        """Return a copy with more items, which have no training users."""
        return Titles((*self.names, *names), np.pad(self.popularity, (0, len(names))))

    def _titles_at(self, query: str, start: int) -> tuple[list[int], int]:
        """Return the items of a list of titles at a place of a query, and where it ends."""
        found: list[int] = []
        end = start
        while title := self._title_at(query, start):
            found.append(title[0])
            end = title[1]
            if not (joined := JOINED.match(query, end)):
                break
            start = joined.end()
        return found, end

    def _title_at(self, query: str, start: int) -> tuple[int, int] | None:
        """Return the item with the longest title at a place of a query, and where the title ends."""
        words, longest = [], None
        for word in WORD.finditer(query, start):
            if plain(word[0]) in FILLERS:
                continue
            words.append(plain(word[0]))
            if len(words) > self._most_words:
                break
            if tuple(words) in self._rows and CLOSED.match(query, word.end()):
                longest = self._rows[tuple(words)], word.end()
        return longest

    @cached_property
    def _most_words(self) -> int:
        return max(map(len, self._rows), default=0)

    @cached_property
    def _rows(self) -> dict[tuple[str, ...], int]:
        """Row of the most popular item of each title, in words."""
        rows: dict[tuple[str, ...], int] = {}
        for row in np.argsort(-self.popularity, kind="stable").tolist():
            for title in _titles(self.names[row]):
                if words := _words(title):
                    rows.setdefault(words, row)
        return rows


def _titles(name: str) -> Iterator[str]:
    """Yield a name, and its parts: without brackets at its end, inside brackets, and before a colon."""
    yield name
    yield re.sub(r"(?:\s*[(\[][^)\]]*[)\]])+\s*$", "", name)
    for inside in re.findall(r"[(\[]([^)\]]*)[)\]]", name):
        if not inside.strip().isdigit():  # a year
            yield re.sub(r"^a\.?k\.?a\.?\s", "", inside)
    if ":" in name:
        yield name.partition(":")[0]


def _words(title: str) -> tuple[str, ...]:
    return tuple(word for word in map(plain, WORD.findall(title)) if word not in FILLERS)
