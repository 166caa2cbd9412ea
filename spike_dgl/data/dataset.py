"""The `Dataset` that all data formats are read into: row indices, raw ids, names and texts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spike_dgl.errors import UnknownIdError, nearest
from spike_dgl.typing import FloatArray, IndexArray

MOST_LISTED = 10
"""Maximum number of ids listed in the error about an ambiguous name."""


@dataclass(frozen=True)
class Vocabulary:
    """Mapping between row indices and raw ids, with a readable name per row.

    Parameters
    ----------
    kind
        Kind of the rows ("user", "item", "entity", "relation"), for error messages.
    ids
        Raw ids in row order, all different.
    names
        Readable names in row order; the raw ids by default.
    """

    kind: str
    ids: tuple[str, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.names:
            object.__setattr__(self, "names", self.ids)
        if len(self.names) != len(self.ids):
            raise ValueError(f"{len(self.ids)} {self.kind} ids but {len(self.names)} names")
        if len(self._rows) != len(self.ids):
            raise ValueError(f"{self.kind} ids are not all different")

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {raw: row for row, raw in enumerate(self.ids)}

    def __contains__(self, raw_id: object) -> bool:
        return raw_id in self._rows

    def index(self, raw_id: str) -> int:
        """Return the row of a raw id. Raises `UnknownIdError`, naming the nearest id, if it is unknown."""
        try:
            return self._rows[raw_id]
        except KeyError:
            raise UnknownIdError(f"unknown {self.kind} '{raw_id}'; {nearest(raw_id, self.ids)}") from None

    def indices(self, raw_ids: Iterable[str]) -> IndexArray:
        """Return the rows of several raw ids, in their order."""
        return np.array([self.index(raw) for raw in raw_ids], dtype=np.int64)

    def find(self, word: str) -> int:
        """Return the row of a raw id or, if there is no such id, of an exact name.

        Raises `UnknownIdError` if there is neither (the message names the nearest) or if several rows have that name
        (the message lists their ids).
        """
        if word in self._rows:
            return self._rows[word]
        rows = self._rows_by_name.get(word, ())
        if len(rows) == 1:
            return rows[0]
        if rows:
            listed = ", ".join(f"'{self.ids[row]}'" for row in rows[:MOST_LISTED])
            more = f" and {len(rows) - MOST_LISTED} more" if len(rows) > MOST_LISTED else ""
            raise UnknownIdError(
                f"more than one {self.kind} has the name '{word}': {listed}{more}\n  Give one of these ids instead."
            )
        known = self.ids if self.names == self.ids else (*self.ids, *self.names)
        raise UnknownIdError(f"unknown {self.kind} '{word}'; {nearest(word, known)}")

    def find_all(self, words: Iterable[str]) -> IndexArray:
        """Return the rows of several raw ids or names, in their order."""
        return np.array([self.find(word) for word in words], dtype=np.int64)

    @cached_property
    def _rows_by_name(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(self.names):
            rows.setdefault(name, []).append(row)
        return rows


@dataclass(frozen=True)
class Interactions:
    """Unique user-item pairs, sorted by user and then item.

    Parameters
    ----------
    users, items
        User and item rows [X].
    times
        Time of each interaction [X], as any numbers that grow with time; None if unknown.
    tie_seed
        Random seed of the order of a user's interactions at the same time.
    """

    users: IndexArray
    items: IndexArray
    times: NDArray[np.float64] | None = None
    tie_seed: int = 0

    @classmethod
    def from_pairs(cls, users: IndexArray, items: IndexArray) -> Interactions:
        """Build from pairs in any order; repeated pairs are dropped."""
        users, items = _unique_rows(users, items)
        return cls(users, items)

    @classmethod
    def empty(cls) -> Interactions:
        """Return interactions without any pair."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.users)

    def select(self, chosen: IndexArray | np.ndarray) -> Interactions:
        """Return the pairs at some positions, or where a mask is true."""
        times = None if self.times is None else self.times[chosen]
        return Interactions(self.users[chosen], self.items[chosen], times, self.tie_seed)

    def by_time(self) -> IndexArray | None:
        """Return positions [X] sorted by user and then time, ties in random order; None without times."""
        if self.times is None:
            return None
        return np.lexsort((tie_order(self.users, self.items, self.tie_seed), self.times, self.users))

    def places(self, num_users: int) -> IndexArray | None:
        """Return the number of the user's earlier interactions [X], in the order `by_time`; None without times."""
        by_time = self.by_time()
        if by_time is None:
            return None
        places = np.empty_like(self.users)
        places[by_time] = np.arange(len(self)) - self.offsets(num_users)[self.users]
        return places

    def union(self, other: Interactions) -> Interactions:
        """Return the union of two sets of pairs, without times."""
        return Interactions.from_pairs(
            np.concatenate([self.users, other.users]), np.concatenate([self.items, other.items])
        )

    def offsets(self, num_users: int) -> IndexArray:
        """Return the row pointer [U + 1]: the items of user u are `items[offsets[u]:offsets[u + 1]]`."""
        return np.searchsorted(self.users, np.arange(num_users + 1)).astype(np.int64)

    def keys(self, num_items: int) -> IndexArray:
        """Return a unique key per pair, `user * num_items + item`, ascending; for set operations."""
        return self.users * num_items + self.items


@dataclass(frozen=True)
class Triples:
    """Unique triples of the knowledge graph: `heads` [T], `relations` [T] (0..R-1), `tails` [T]."""

    heads: IndexArray
    relations: IndexArray
    tails: IndexArray

    @classmethod
    def from_rows(cls, rows: IndexArray) -> Triples:
        """Build from rows (head, relation, tail) of shape [T, 3]; sorts them and drops repeated rows."""
        return cls(*_unique_rows(*np.asarray(rows, dtype=np.int64).reshape(-1, 3).T))

    def __len__(self) -> int:
        return len(self.heads)


@dataclass(frozen=True)
class NodeTexts:
    """Texts by row index; nodes without a text are absent."""

    users: Mapping[int, str] = field(default_factory=dict)
    entities: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeVectors:
    """Text vectors that come with a data set.

    Parameters
    ----------
    users, entities
        Vectors [U, d_t] and [N, d_t], items first.
    encoder
        Name of the text encoder; empty if unknown.
    user_hashes, entity_hashes
        SHA-256 (hex) of the text of each vector; None if unknown.
    """

    users: FloatArray
    entities: FloatArray
    encoder: str = ""
    user_hashes: NDArray[np.bytes_] | None = None
    entity_hashes: NDArray[np.bytes_] | None = None


class HasVocabularies:
    """Base class with the sizes of the four vocabularies."""

    users: Vocabulary
    items: Vocabulary
    entities: Vocabulary
    relations: Vocabulary

    @property
    def num_users(self) -> int:
        """Number of users, U."""
        return len(self.users)

    @property
    def num_items(self) -> int:
        """Number of items, I."""
        return len(self.items)

    @property
    def num_entities(self) -> int:
        """Number of entities including items, N."""
        return len(self.entities)

    @property
    def num_relations(self) -> int:
        """Number of relations without inverses, R."""
        return len(self.relations)


@dataclass(frozen=True)
class Dataset(HasVocabularies):
    """Interactions and knowledge graph of one recommendation problem.

    Parameters
    ----------
    name
        Short name, used for run folders and tables.
    users, items, entities, relations
        Raw ids and names: U, I, N and R rows. The first I entities are the items and share their names.
    train, valid, test
        Interactions of each split; `valid` may be empty.
    triples
        The knowledge graph, without inverses.
    profiles
        Profile texts that come with the data, written by an LLM or by hand.
    descriptions
        Other texts about nodes (genre, plot, age group ...), from which profiles are written.
    vectors
        Text vectors of all nodes that come with the data, or None.
    linked_names
        Name of the entity that each item is linked to, by item row, if the data has it besides the item's title.
    review_file
        File of the interactions' reviews (see `spike_dgl.data.reviews`); None if there are none.
    dropped
        Number of rows that loading left out, by reason, such as ``{"duplicate pairs in train": 3}``.
    altered
        Descriptions of the changes requested by settings; see `spike_dgl.data.controls`.
    """

    name: str
    users: Vocabulary
    items: Vocabulary
    entities: Vocabulary
    relations: Vocabulary
    train: Interactions
    valid: Interactions
    test: Interactions
    triples: Triples
    profiles: NodeTexts = field(default_factory=NodeTexts)
    descriptions: NodeTexts = field(default_factory=NodeTexts)
    vectors: NodeVectors | None = None
    linked_names: Mapping[int, str] = field(default_factory=dict)
    review_file: Path | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    altered: tuple[str, ...] = ()

    def replace(self, **changes: object) -> Dataset:
        """Return a copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @cached_property
    def checksum(self) -> str:
        """SHA-256 (hex) of splits with times, triples, ids, names, profiles, descriptions and vectors.

        Linked names are not included. Neither are reviews, which are used in prompts only: answers to prompts are
        stored by the prompt's own hash.
        """
        times = [part.times for part in (self.train, self.valid, self.test) if part.times is not None]
        if not times:
            return self.checksum_without_times
        digest = hashlib.sha256(self.checksum_without_times.encode())
        for of_part in times:
            _update(digest, of_part)
        return digest.hexdigest()

    def has_checksum(self, checksum: str) -> bool:
        """Return whether a checksum, or its first digits, is that of this data; earlier versions' form counts, too."""
        return any(form.startswith(checksum) for form in (self.checksum, self.checksum_without_times))

    @cached_property
    def checksum_without_times(self) -> str:
        """`checksum` in the form of earlier versions; the same if the data has no times."""
        digest = hashlib.sha256(self.split_hash.encode())
        for array in (self.triples.heads, self.triples.relations, self.triples.tails):
            _update(digest, array)
        for vocabulary in (self.users, self.items, self.entities, self.relations):
            digest.update(repr((vocabulary.ids, vocabulary.names)).encode())
        for texts in (self.profiles, self.descriptions):
            digest.update(repr((sorted(texts.users.items()), sorted(texts.entities.items()))).encode())
        if self.vectors is not None:
            _update(digest, self.vectors.users)
            _update(digest, self.vectors.entities)
        return digest.hexdigest()

    @cached_property
    def split_hash(self) -> str:
        """SHA-256 (hex) of the train, validation and test pairs."""
        digest = hashlib.sha256()
        for part in (self.train, self.valid, self.test):
            _update(digest, part.users)
            _update(digest, part.items)
        return digest.hexdigest()


def tie_order(users: IndexArray, items: IndexArray, seed: int) -> NDArray[np.uint64]:
    """Return a random number per pair [X], to order pairs of the same time.

    It depends on the pair and the seed only. Ordering ties by item would put the same items last in all histories:
    these would be held out, and the split would depend on how items are numbered.
    """
    mixed = np.full(len(users), seed % 2**64, dtype=np.uint64)
    for rows in (users, items):
        mixed = _mixed(mixed ^ rows.astype(np.uint64))
    return mixed


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash numbers to 64 bits with one step of SplitMix64 (Steele et al., OOPSLA 2014); overflow is intended."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    spread: NDArray[np.uint64] = numbers ^ (numbers >> np.uint64(31))
    return spread


def _unique_rows(*columns: IndexArray) -> list[IndexArray]:
    """Return unique rows, sorted by the first column, then the next; faster than `np.unique(axis=0)`."""
    order = np.lexsort(columns[::-1])
    ordered = [np.asarray(column, dtype=np.int64)[order] for column in columns]
    new = np.ones(len(order), dtype=bool)
    new[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in ordered])
    return [column[new] for column in ordered]


def _update(digest: hashlib._Hash, array: np.ndarray) -> None:
    digest.update(repr(array.shape).encode())
    digest.update(np.ascontiguousarray(array).tobytes())
