"""What every data format becomes: one frozen `Dataset` of row indices, raw ids, names and texts."""

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
"""Ids that the message about an ambiguous name lists."""


@dataclass(frozen=True)
class Vocabulary:
    """Row index <-> raw id, with a readable name for every row.

    Parameters
    ----------
    kind
        What a row is ("user", "item", "entity", "relation"); used in error messages.
    ids
        Raw ids in row order, all different.
    names
        Readable names in row order; the raw ids where the data has none.
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
        """The row of a raw id. Raises `UnknownIdError`, naming the nearest id, where there is none."""
        try:
            return self._rows[raw_id]
        except KeyError:
            raise UnknownIdError(f"unknown {self.kind} '{raw_id}'; {nearest(raw_id, self.ids)}") from None

    def indices(self, raw_ids: Iterable[str]) -> IndexArray:
        """Rows of several raw ids, in their order."""
        return np.array([self.index(raw) for raw in raw_ids], dtype=np.int64)

    def find(self, word: str) -> int:
        """The row of a raw id or, where there is no such id, of the exact name.

        Raises `UnknownIdError` where there is neither, naming the nearest, and where several rows have the name,
        listing their ids.
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
                f"more than one {self.kind} is called '{word}': {listed}{more}\n  Give the id of one of them."
            )
        known = self.ids if self.names == self.ids else (*self.ids, *self.names)
        raise UnknownIdError(f"unknown {self.kind} '{word}'; {nearest(word, known)}")

    def find_all(self, words: Iterable[str]) -> IndexArray:
        """Rows of several raw ids or names, in their order."""
        return np.array([self.find(word) for word in words], dtype=np.int64)

    @cached_property
    def _rows_by_name(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(self.names):
            rows.setdefault(name, []).append(row)
        return rows


@dataclass(frozen=True)
class Interactions:
    """User-item pairs, each once, sorted by user and then item.

    Parameters
    ----------
    users, items
        [X] rows.
    times
        [X] when each happened, any numbers that grow with time; None where the data does not say.
    tie_seed
        Of the random order of a user's interactions at the same time.
    """

    users: IndexArray
    items: IndexArray
    times: NDArray[np.float64] | None = None
    tie_seed: int = 0

    @classmethod
    def from_pairs(cls, users: IndexArray, items: IndexArray) -> Interactions:
        """Sort pairs and drop repeated ones."""
        users, items = _unique_rows(users, items)
        return cls(users, items)

    @classmethod
    def empty(cls) -> Interactions:
        """No pair at all."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.users)

    def select(self, chosen: IndexArray | np.ndarray) -> Interactions:
        """The pairs at some positions, or where a mask is true."""
        times = None if self.times is None else self.times[chosen]
        return Interactions(self.users[chosen], self.items[chosen], times, self.tie_seed)

    def by_time(self) -> IndexArray | None:
        """[X] positions by user and then time, those of one time in random order; None without times."""
        if self.times is None:
            return None
        return np.lexsort((tie_order(self.users, self.items, self.tie_seed), self.times, self.users))

    def places(self, num_users: int) -> IndexArray | None:
        """[X] how many of the user's interactions came before each, in the order `by_time`; None without times."""
        by_time = self.by_time()
        if by_time is None:
            return None
        places = np.empty_like(self.users)
        places[by_time] = np.arange(len(self)) - self.offsets(num_users)[self.users]
        return places

    def union(self, other: Interactions) -> Interactions:
        """Pairs that stand in either, without times."""
        return Interactions.from_pairs(
            np.concatenate([self.users, other.users]), np.concatenate([self.items, other.items])
        )

    def offsets(self, num_users: int) -> IndexArray:
        """Row pointer [U + 1]: the items of user u are `items[offsets[u]:offsets[u + 1]]`."""
        return np.searchsorted(self.users, np.arange(num_users + 1)).astype(np.int64)

    def keys(self, num_items: int) -> IndexArray:
        """One ascending number a pair, `user * num_items + item`, for set operations."""
        return self.users * num_items + self.items


@dataclass(frozen=True)
class Triples:
    """Facts of the knowledge graph, each once: `heads` [T], `relations` [T] (0..R-1), `tails` [T]."""

    heads: IndexArray
    relations: IndexArray
    tails: IndexArray

    @classmethod
    def from_rows(cls, rows: IndexArray) -> Triples:
        """Build from rows (head, relation, tail) of shape [T, 3]; sorts them and drops repeated ones."""
        return cls(*_unique_rows(*np.asarray(rows, dtype=np.int64).reshape(-1, 3).T))

    def __len__(self) -> int:
        return len(self.heads)


@dataclass(frozen=True)
class NodeTexts:
    """Texts by row index; a node without one is absent."""

    users: Mapping[int, str] = field(default_factory=dict)
    entities: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeVectors:
    """Text vectors that a data set brings along.

    Parameters
    ----------
    users, entities
        Vectors [U, d_t] and [N, d_t], items first.
    encoder
        Name of what made them; empty where the files do not say.
    user_hashes, entity_hashes
        SHA-256 (hex) of the text behind each vector; None where the files do not say.
    """

    users: FloatArray
    entities: FloatArray
    encoder: str = ""
    user_hashes: NDArray[np.bytes_] | None = None
    entity_hashes: NDArray[np.bytes_] | None = None


class HasVocabularies:
    """Counts of whatever holds the four vocabularies."""

    users: Vocabulary
    items: Vocabulary
    entities: Vocabulary
    relations: Vocabulary

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.users)

    @property
    def num_items(self) -> int:
        """I."""
        return len(self.items)

    @property
    def num_entities(self) -> int:
        """N, items included."""
        return len(self.entities)

    @property
    def num_relations(self) -> int:
        """R, without inverses."""
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
        Ready-made profile paragraphs (by an LLM or by hand), where the data has them.
    descriptions
        Other text about a node (genre, plot, age group ...), raw material for profiles.
    vectors
        Ready-made text vectors of all nodes, or None.
    linked_names
        How the knowledge graph names the entity that an item is linked to, where the data tells it apart from the
        item's own title.
    review_file
        Where reviews of interactions stand, see `spike_dgl.data.reviews`; None where the data has none.
    dropped
        What loading left out, e.g. ``{"duplicate pairs in train": 3}``.
    altered
        What settings changed on purpose, a clause each; see `spike_dgl.data.controls`.
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
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @cached_property
    def checksum(self) -> str:
        """SHA-256 (hex) of everything in the data set except its name and reviews: equal data, equal checksum.

        Reviews reach nothing but prompts, and an answer is known by the hash of its prompt.
        """
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
    """Return a random number for each pair [X], which puts pairs of one time in order.

    It depends on the pair and the seed alone. An order by item would put the same items last in all histories, and
    these would be held out: how items are numbered would decide what a model is asked for.
    """
    mixed = np.full(len(users), seed % 2**64, dtype=np.uint64)
    for rows in (users, items):
        mixed = _mixed(mixed ^ rows.astype(np.uint64))
    return mixed


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers spread over all 64 bits: one step of SplitMix64 (Steele et al., OOPSLA 2014); overflow is meant."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    spread: NDArray[np.uint64] = numbers ^ (numbers >> np.uint64(31))
    return spread


def _unique_rows(*columns: IndexArray) -> list[IndexArray]:
    """Rows sorted by their columns, the first column first, each once; faster than `np.unique(axis=0)`."""
    order = np.lexsort(columns[::-1])
    ordered = [np.asarray(column, dtype=np.int64)[order] for column in columns]
    new = np.ones(len(order), dtype=bool)
    new[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in ordered])
    return [column[new] for column in ordered]


def _update(digest: hashlib._Hash, array: np.ndarray) -> None:
    digest.update(repr(array.shape).encode())
    digest.update(np.ascontiguousarray(array).tobytes())
