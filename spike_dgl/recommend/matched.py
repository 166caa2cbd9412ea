"""Words of a query that match an item, as they are written in the texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spike_dgl.profiles.terms import words_and_stems

MOST_WORDS = 5
"""Maximum number of words shown of one text."""
SNIPPET = 80
"""Number of characters of a snippet that contain the matched words; up to a word more on each side."""
LEAD = 24
"""Number of characters before the first matched word of a snippet."""


@dataclass(frozen=True)
class EntityMatch:
    """Entity of an item whose name or profile has words of a query, or that an example in the query has, too.

    Parameters
    ----------
    relation
        Relations of the item to the entity, in words: "genre", "directed by, starring".
    name
        Name of the entity.
    words
        Matched words as written in the name or profile, those that count most first. None if the item has the entity in
        common with an example.
    """

    relation: str
    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class ItemMatch:
    """Words of a query that an item has, in its own text and in those of its entities.

    Without words and entities, nothing matches literally, and the item is listed by the model alone.

    Parameters
    ----------
    words
        Matched words as written in the item's own text (profile and facts), those that count most first. With
        examples, also the words that it has in common with their texts.
    snippet
        Passage of that text with the most of these words; empty if there are none.
    entities
        Entities of the item that match, those that count most first.
    """

    words: tuple[str, ...] = ()
    snippet: str = ""
    entities: tuple[EntityMatch, ...] = ()


def words_as_written(text: str, weights: Mapping[str, float]) -> tuple[str, ...]:
    """Return the words of a text whose stems have a weight, each stem once, those with the largest weight first."""
    written: dict[str, str] = {}
    for word, stem in words_and_stems(text):
        if stem in weights:
            written.setdefault(stem, word[0])
    return tuple(written[stem] for stem in sorted(written, key=lambda stem: -weights[stem])[:MOST_WORDS])


def snippet(text: str, weights: Mapping[str, float]) -> str:
    """Return the passage of a text in which different stems have the largest sum of weights; "…" marks what is cut.

    Examples
    --------
    >>> snippet("A farmer leaves home. " * 4 + "A wizard teaches him magic.", {"wizard": 0.3, "magic": 0.2})
    '…farmer leaves home. A wizard teaches him magic.'
    """
    places = [(word.start(), word.end(), stem) for word, stem in words_and_stems(text) if stem in weights]
    if not places:
        return ""

    def weight(start: int) -> float:
        within = {stem for first, last, stem in places if start <= first and last <= start + SNIPPET - LEAD}
        return sum(weights[stem] for stem in within)

    best = max((start for start, _, _ in places), key=weight)
    return _passage(text, best - LEAD, best - LEAD + SNIPPET)


def _passage(text: str, start: int, end: int) -> str:
    """Return a text from about `start` to about `end`, cut at spaces."""
    first = 0 if start <= 0 else text.find(" ", start) + 1
    last = len(text) if end >= len(text) else text.find(" ", end)
    last = len(text) if last < 0 else last
    return f"{'…' if first else ''}{text[first:last]}{'…' if last < len(text) else ''}"
