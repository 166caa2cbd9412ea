"""Comparison of an item's title with the name of the entity it is linked to."""

from __future__ import annotations

import re
import unicodedata
from difflib import SequenceMatcher
from typing import Literal

ALIKE = 0.6
"""Minimum `SequenceMatcher` ratio for two names to be spellings of the same."""

YEARS = 2
"""Maximum difference between years of the same film: release dates differ between sources."""

_PARENTHESES = re.compile(r"\([^()]*\)")
_WORD = re.compile(r"[^\W_]+")
_ARTICLES = frozenset(
    ("the", "a", "an", "le", "la", "les", "l", "il", "el", "los", "las", "der", "die", "das")
)
_SKIPPED = _ARTICLES | {"and", "of"}
_YEAR = re.compile(r"\b(1[89]\d\d|20\d\d)\b")


def difference(title: str, name: str) -> Literal["", "name", "year"]:
    """Return how a title and a name differ, "name" or "year"; empty if they may mean the same thing.

    Names match if one has all words of the other or if they are spelt similarly, ignoring articles, accents, the order
    of words and text in parentheses. Years differ if both have one in parentheses and these are more than two years
    apart: a film and its remake.

    Examples
    --------
    >>> difference("City of Lost Children, The (1995)", "The City of Lost Children")
    ''
    >>> difference("Kid, The (2000)", "Mad Max 2")
    'name'
    >>> difference("Rear Window (1954)", "Rear Window (1998 film)")
    'year'
    """
    if not _named_alike(title, name):
        return "name"
    return "year" if _years_apart(title, name) > YEARS else ""


def _named_alike(title: str, name: str) -> bool:
    variants = [_words(title), *(_words(part[1:-1]) for part in _PARENTHESES.findall(title))]
    other = _words(name)
    return not other or any(words and _alike(words, other) for words in variants)


def _alike(words: list[str], other: list[str]) -> bool:
    if set(words) <= set(other) or set(other) <= set(words):
        return True
    first, second = " ".join(sorted(words)), " ".join(sorted(other))
    pairs = ((first, second), ("".join(words), "".join(other)))
    return max(SequenceMatcher(None, a, b, autojunk=False).ratio() for a, b in pairs) >= ALIKE


def _words(name: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", _PARENTHESES.sub(" ", name)).lower()
    words = _WORD.findall("".join(c for c in plain if not unicodedata.combining(c)).replace("'", ""))
    return [word for word in words if word not in _SKIPPED] or words


def _years_apart(title: str, name: str) -> int:
    """Return the smallest difference between years in parentheses; 0 if one text has none."""
    years = [
        [int(year) for part in _PARENTHESES.findall(text) for year in _YEAR.findall(part)]
        for text in (title, name)
    ]
    return min((abs(a - b) for a in years[0] for b in years[1]), default=0)
