"""Which texts name which items, and whether that gives away what is held out.

A user's profile that names items of the test part may have been written by somebody who had seen them. It may also
name them by chance, since "Heat" and "It" are words as well, or as a good guess. So what is found is compared
with two yardsticks: how often the same names stand in profiles of users who never interacted with the items, and how
often profiles name items of the training part, which they were written from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.typing import IndexArray

Words = tuple[str, ...]

CLEARLY = 3.0
"""Standard deviations above what is expected by chance from which on something is more than that."""

# Nobody writes "Big_Fish", "Heat (1995)" or "Air (band)" in a sentence.
_WORD = re.compile(r"[^\W_]+")
_PARENTHESES = re.compile(r"\([^()]*\)\s*$")


def spoken_words(name: str) -> Words:
    """A name's words as a sentence has them: without what stands in parentheses at its end."""
    return tuple(_WORD.findall(_PARENTHESES.sub("", name)))


class NameFinder:
    """Finds names in texts, word by word and case by case; of names that begin alike the longest counts.

    Parameters
    ----------
    names
        What to look for. Names that are spoken alike are found together.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._rows: dict[Words, list[int]] = {}
        for row, name in enumerate(names):
            self._rows.setdefault(spoken_words(name), []).append(row)
        self._rows.pop((), None)
        self._starting: dict[str, list[Words]] = {}
        for words in sorted(self._rows, key=len, reverse=True):
            self._starting.setdefault(words[0], []).append(words)

    def find(self, text: str) -> set[int]:
        """Rows of all names that a text holds."""
        words, found, place = _WORD.findall(text), set[int](), 0
        while place < len(words):
            name = self._name_at(words, place)
            found.update(self._rows.get(name, ()))
            place += max(len(name), 1)
        return found

    def _name_at(self, words: Sequence[str], place: int) -> Words:
        for name in self._starting.get(words[place], ()):
            if tuple(words[place : place + len(name)]) == name:
                return name
        return ()


@dataclass(frozen=True)
class NamedItems:
    """How many pairs of one part have their item named in their user's text.

    Parameters
    ----------
    pairs
        Pairs of users who have a text, without those whose name an item of the training part bears too.
    named
        The positions of those that are named, as pairs.
    expected
        How many it would be by chance: as often as texts of users without the item name it.
    """

    pairs: int
    named: Interactions
    expected: float

    @property
    def is_more_than_chance(self) -> bool:
        """True where there are clearly more than expected."""
        return len(self.named) - self.expected > CLEARLY * math.sqrt(max(self.expected, 1.0))

    @property
    def share(self) -> float:
        """Share of the pairs that is named beyond chance."""
        return max(len(self.named) - self.expected, 0.0) / max(self.pairs, 1)


def named_items(dataset: Dataset, texts: Mapping[int, str]) -> dict[str, NamedItems]:
    """Look for the names of each user's items in the user's text, for the parts ``train``, ``valid`` and ``test``.

    Parameters
    ----------
    dataset
        Interactions, and the items' names.
    texts
        Profiles by user; users without one are left out.
    """
    alike = _spoken_alike(dataset.items.names)
    mentions = _mentions(NameFinder(dataset.items.names), texts, alike)
    known = dataset.train.union(dataset.valid).union(dataset.test)
    chance = _rate_among_strangers(mentions, _with_text(known, texts, alike), len(texts), dataset.num_items)
    result = {}
    for part in ("train", "valid", "test"):
        pairs: Interactions = getattr(dataset, part)
        if part != "train":
            pairs = _without(pairs, dataset.train, alike, dataset.num_items)
        pairs = pairs.select(np.isin(pairs.users, list(texts)))
        by_name = Interactions(pairs.users, alike[pairs.items])
        named = np.isin(by_name.keys(dataset.num_items), mentions.keys(dataset.num_items))
        result[part] = NamedItems(len(pairs), pairs.select(named), float(chance[by_name.items].sum()))
    return result


def _spoken_alike(names: Sequence[str]) -> IndexArray:
    """For each item the first one that is spoken alike [I]."""
    first: dict[Words, int] = {}
    return np.array([first.setdefault(spoken_words(name), row) for row, name in enumerate(names)], np.int64)


def _mentions(finder: NameFinder, texts: Mapping[int, str], alike: IndexArray) -> Interactions:
    found = [(user, item) for user, text in texts.items() for item in finder.find(text)]
    users, items = np.array(found, np.int64).reshape(-1, 2).T
    return Interactions.from_pairs(users, alike[items])


def _with_text(pairs: Interactions, texts: Iterable[int], alike: IndexArray) -> Interactions:
    """The pairs of users with a text, items that are spoken alike taken for one."""
    chosen = pairs.select(np.isin(pairs.users, list(texts)))
    return Interactions.from_pairs(chosen.users, alike[chosen.items])


def _without(pairs: Interactions, other: Interactions, alike: IndexArray, num_items: int) -> Interactions:
    """Only pairs whose item is not spoken like an item that the user has in the other part."""
    keys = pairs.users * num_items + alike[pairs.items]
    return pairs.select(~np.isin(keys, other.users * num_items + alike[other.items]))


def _rate_among_strangers(
    mentions: Interactions, known: Interactions, num_texts: int, num_items: int
) -> np.ndarray:
    """Share of the texts of users without an item that name it [I]."""
    strange = mentions.select(~np.isin(mentions.keys(num_items), known.keys(num_items)))
    strangers = num_texts - np.bincount(known.items, minlength=num_items)
    rate: np.ndarray = np.bincount(strange.items, minlength=num_items) / np.maximum(strangers, 1)
    return rate
