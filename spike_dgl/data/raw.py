"""Contents of a data set's files as a format reads them, and their conversion to a `Dataset`.

For every format, repeated rows are dropped and counted, ids are checked against the vocabularies, and a validation
split is taken from the training split if there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spike_dgl.data.dataset import Dataset, Interactions, NodeTexts, NodeVectors, Triples, Vocabulary
from spike_dgl.data.splits import carve_validation, split_at_random, split_by_time
from spike_dgl.errors import DataError
from spike_dgl.typing import IndexArray

MISSING_TEXTS = "names and texts that are missing values"
"""Key of `Dataset.dropped` for names and texts that are missing values."""
TEST_FRACTION = 0.1
"""Share of each user's pairs to use as test split, if the data has no splits."""


@dataclass(frozen=True)
class RawRows:
    """Rows of one file: `values` [n, 2] (user, item) or [n, 3] (head, relation, tail), and `lines` [n]."""

    file: Path
    values: IndexArray
    lines: IndexArray

    def __len__(self) -> int:
        return len(self.values)

    def columns(self, *kinds: str) -> list[IdSource]:
        """Return each column as ids of the given kind."""
        return [
            IdSource(self.file, kind, self.values[:, column], self.lines) for column, kind in enumerate(kinds)
        ]


@dataclass(frozen=True)
class IdSource:
    """Ids [n] of one kind as a file has them, with the line of each if the file has lines.

    Id 0 of the file is the row `offset`.
    """

    file: Path
    kind: str
    ids: IndexArray
    lines: IndexArray | None = None
    offset: int = 0

    def line(self, position: int) -> int | None:
        """Return the line of the id at a position, or None if the file has no lines."""
        return None if self.lines is None else int(self.lines[position])


@dataclass(frozen=True)
class Unsplit:
    """Interactions without splits: rows [n, 2], and their `times` [n] if the file has them."""

    rows: RawRows
    times: NDArray[Any] | None


@dataclass(frozen=True)
class RawDataset:
    """Unchecked contents of a data set's files, with row indices in place of raw ids.

    Parameters
    ----------
    users, items, entities, relations
        See `Dataset`; `assemble` sets the names of the first entities to those of the items.
    pairs
        Rows of the splits "train", "test" and optionally "valid"; or one `Unsplit`.
    triples
        Rows of the knowledge graph.
    mentions
        Ids in other files, to be checked like those of pairs and triples.
    listed_in
        Name of the file that determines the number of rows of a kind, by kind; for error messages.
    times
        Times of the rows of each split, if the files have them.
    profiles, descriptions, vectors, linked_names, review_file, dropped
        See `Dataset`.
    """

    users: Vocabulary
    items: Vocabulary
    entities: Vocabulary
    relations: Vocabulary
    pairs: Mapping[str, RawRows] | Unsplit
    triples: RawRows
    mentions: Sequence[IdSource] = ()
    listed_in: Mapping[str, str] = field(default_factory=dict)
    profiles: NodeTexts = field(default_factory=NodeTexts)
    descriptions: NodeTexts = field(default_factory=NodeTexts)
    vectors: NodeVectors | None = None
    times: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    linked_names: Mapping[int, str] = field(default_factory=dict)
    review_file: Path | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)

    def size(self, kind: str) -> int:
        """Return the number of rows of a kind: "user", "item", "entity" or "relation"."""
        vocabularies = (self.users, self.items, self.entities, self.relations)
        return next(len(vocabulary) for vocabulary in vocabularies if vocabulary.kind == kind)

    def id_sources(self) -> list[IdSource]:
        """Return every column of ids in the data set."""
        parts = [self.pairs.rows] if isinstance(self.pairs, Unsplit) else list(self.pairs.values())
        columns = [source for rows in parts for source in rows.columns("user", "item")]
        return [*columns, *self.triples.columns("entity", "relation", "entity"), *self.mentions]


def assemble(raw: RawDataset, name: str, valid_fraction: float, seed: int) -> Dataset:
    """Check the ids, drop and count repeated rows, and make the missing splits.

    Raises
    ------
    DataError
        If an id is out of range, or a split has no pair.
    """
    dropped = dict(raw.dropped)
    for source in raw.id_sources():
        _check_range(raw, source)
    triples = Triples.from_rows(raw.triples.values)
    _count(dropped, "duplicate triples", len(raw.triples) - len(triples))
    train, valid, test = (replace(part, tie_seed=seed) for part in _split(raw, dropped, valid_fraction, seed))
    names = raw.items.names + raw.entities.names[len(raw.items) :]
    return Dataset(
        name=name,
        users=raw.users,
        items=raw.items,
        entities=Vocabulary("entity", raw.entities.ids, names),
        relations=raw.relations,
        train=train,
        valid=valid,
        test=test,
        triples=triples,
        profiles=raw.profiles,
        descriptions=raw.descriptions,
        vectors=raw.vectors,
        linked_names=raw.linked_names,
        review_file=raw.review_file,
        dropped=dropped,
    )


def _check_range(raw: RawDataset, source: IdSource) -> None:
    listed_in = raw.listed_in.get(source.kind, "the data set")
    size = raw.size(source.kind) - source.offset
    outside = source.ids >= size
    if outside.any():
        position = int(outside.argmax())
        problem = (
            f"{source.kind} {source.ids[position]} is out of range: "
            f"according to {listed_in}, ids here are 0 to {size - 1}"
        )
        remedy = f"Correct the id, or add the {source.kind} to {listed_in}."
        raise DataError(source.file, problem, remedy, source.line(position))


def _split(
    raw: RawDataset, dropped: dict[str, int], valid_fraction: float, seed: int
) -> tuple[Interactions, Interactions, Interactions]:
    if isinstance(raw.pairs, Unsplit):
        return _split_whole(raw.pairs, dropped, valid_fraction, seed)
    parts = {
        part: _with_times(_unique_pairs(rows, part, dropped), rows, raw.times.get(part), len(raw.items))
        for part, rows in raw.pairs.items()
    }
    train, test = parts["train"], parts["test"]
    if "valid" in parts:
        return train, parts["valid"], test
    return *carve_validation(train, len(raw.users), valid_fraction, seed), test


def _split_whole(
    whole: Unsplit, dropped: dict[str, int], valid_fraction: float, seed: int
) -> tuple[Interactions, Interactions, Interactions]:
    pairs = _unique_pairs(whole.rows, "interactions", dropped)
    if whole.times is None:
        return split_at_random(
            pairs.users, pairs.items, valid_fraction=valid_fraction, test_fraction=TEST_FRACTION, seed=seed
        )
    users, items = whole.rows.values.T
    return split_by_time(
        users, items, whole.times, valid_fraction=valid_fraction, test_fraction=TEST_FRACTION, seed=seed
    )


def _with_times(
    pairs: Interactions, rows: RawRows, times: NDArray[Any] | None, num_items: int
) -> Interactions:
    """Return the pairs with times: for each the earliest of the `times` [n] of its rows."""
    if times is None:
        return pairs
    keys = rows.values[:, 0] * num_items + rows.values[:, 1]
    earliest_first = np.lexsort((times, keys))
    place = np.searchsorted(keys[earliest_first], pairs.keys(num_items))
    return replace(pairs, times=times[earliest_first][place].astype(np.float64))


def _unique_pairs(rows: RawRows, part: str, dropped: dict[str, int]) -> Interactions:
    if not len(rows):
        raise DataError(rows.file, "has no user-item pair", "Every split needs at least one pair.")
    pairs = Interactions.from_pairs(*rows.values.T)
    _count(dropped, f"duplicate pairs in {part}", len(rows) - len(pairs))
    return pairs


def _count(dropped: dict[str, int], what: str, number: int) -> None:
    """Record the number of rows that were left out, if there are any."""
    if number:
        dropped[what] = number
