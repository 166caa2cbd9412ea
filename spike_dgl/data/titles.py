"""Whether an item's title and the name of the entity it is linked to can be those of one thing."""

from __future__ import annotations

import re
import unicodedata
from difflib import SequenceMatcher
from typing import Literal

ALIKE = 0.6
"""Share of letters in common, in order, from which on two names are spellings of one."""

YEARS = 2
"""A film may come out, or be dated, so many years apart."""

_PARENTHESES = re.compile(r"\([^()]*\)")
_WORD = re.compile(r"[^\W_]+")
_ARTICLES = frozenset(
    ("the", "a", "an", "le", "la", "les", "l", "il", "el", "los", "las", "der", "die", "das")
)
_SKIPPED = _ARTICLES | {"and", "of"}
_YEAR = re.compile(r"\b(1[89]\d\d|20\d\d)\b")


def difference(title: str, name: str) -> Literal["", "name", "year"]:
    """What shows that a title and a name mean different things; nothing if they may be one.

    They may if one has all the words of the other, or if they are spelt alike; articles, accents, what stands in
    parentheses and the order of words do not count. They may not if both state a year in parentheses, and these are
    more than two years apart: a film and its remake.

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
    """Between the years that stand in parentheses; 0 if one has none."""
    years = [
        [int(year) for part in _PARENTHESES.findall(text) for year in _YEAR.findall(part)]
        for text in (title, name)
    ]
    return min((abs(a - b) for a in years[0] for b in years[1]), default=0)
