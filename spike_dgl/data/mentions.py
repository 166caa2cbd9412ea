"""Detection of held-out items named in users' profiles, which would be a leak.

A profile that names items of the test split may have been written from it. It may also name them by chance, since
"Heat" and "It" are ordinary words too, or as a good guess. So the rate is compared with two references: how often
profiles of users who never interacted with an item name it, and how often profiles name items of the training split,
from which they were written.
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

MIN_DEVIATIONS = 3.0
"""Standard deviations above the number expected by chance that count as more than chance."""

# Sentences do not contain "Big_Fish", "Heat (1995)" or "Air (band)".
_WORD = re.compile(r"[^\W_]+")
_PARENTHESES = re.compile(r"\([^()]*\)\s*$")


def spoken_words(name: str) -> Words:
    """Return the words of a name as a sentence would have them: without parentheses at the end."""
    return tuple(_WORD.findall(_PARENTHESES.sub("", name)))


class NameFinder:
    """Finder of names in texts, by whole words and case-sensitive; of overlapping names the longest is found.

    Parameters
    ----------
    names
        Names to find. Names with the same `spoken_words` are found together.
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
        """Return the rows of all names in a text."""
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
    """Pairs of one split whose item is named in their user's text.

    Parameters
    ----------
    pairs
        Number of pairs of users with a text, without items that share their name with one of the user's training items.
    named
        Pairs whose item is named.
    expected
        Number of named pairs expected by chance: the rate at which texts of users without the item name it.
    """

    pairs: int
    named: Interactions
    expected: float

    @property
    def is_more_than_chance(self) -> bool:
        """True if clearly more pairs are named than expected."""
        return len(self.named) - self.expected > MIN_DEVIATIONS * math.sqrt(max(self.expected, 1.0))

    @property
    def share(self) -> float:
        """Share of the pairs that are named, minus the share expected by chance."""
        return max(len(self.named) - self.expected, 0.0) / max(self.pairs, 1)


def named_items(dataset: Dataset, texts: Mapping[int, str]) -> dict[str, NamedItems]:
    """Find each user's items named in the user's text, for the splits ``train``, ``valid`` and ``test``.

    Parameters
    ----------
    dataset
        Interactions and item names.
    texts
        Profile text by user row; users without one are left out.
    """
    alike = _same_words(dataset.items.names)
    mentions = _mentions(NameFinder(dataset.items.names), texts, alike)
    known = dataset.train.union(dataset.valid).union(dataset.test)
    chance = _rate_without_item(mentions, _with_text(known, texts, alike), len(texts), dataset.num_items)
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


def _same_words(names: Sequence[str]) -> IndexArray:
    """Return the first item with the same spoken words, for each item [I]."""
    first: dict[Words, int] = {}
    return np.array([first.setdefault(spoken_words(name), row) for row, name in enumerate(names)], np.int64)


def _mentions(finder: NameFinder, texts: Mapping[int, str], alike: IndexArray) -> Interactions:
    found = [(user, item) for user, text in texts.items() for item in finder.find(text)]
    users, items = np.array(found, np.int64).reshape(-1, 2).T
    return Interactions.from_pairs(users, alike[items])


def _with_text(pairs: Interactions, texts: Iterable[int], alike: IndexArray) -> Interactions:
    """Return the pairs of users with a text; items with the same spoken words are merged."""
    chosen = pairs.select(np.isin(pairs.users, list(texts)))
    return Interactions.from_pairs(chosen.users, alike[chosen.items])


def _without(pairs: Interactions, other: Interactions, alike: IndexArray, num_items: int) -> Interactions:
    """Return the pairs whose item does not have the same spoken words as one of the user's items in `other`."""
    keys = pairs.users * num_items + alike[pairs.items]
    return pairs.select(~np.isin(keys, other.users * num_items + alike[other.items]))


def _rate_without_item(
    mentions: Interactions, known: Interactions, num_texts: int, num_items: int
) -> np.ndarray:
    """Return the rate at which texts of users without an item name it [I]."""
    strange = mentions.select(~np.isin(mentions.keys(num_items), known.keys(num_items)))
    strangers = num_texts - np.bincount(known.items, minlength=num_items)
    rate: np.ndarray = np.bincount(strange.items, minlength=num_items) / np.maximum(strangers, 1)
    return rate
