"""Reading of a table of interactions of any size, and of the reviews of selected interactions."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spike_dgl.data.prepare.arrow import pa, pc
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.interactions import InteractionLog
from spike_dgl.data.prepare.layouts import Layout
from spike_dgl.data.prepare.markup import without_markup
from spike_dgl.data.prepare.part_files import files_of
from spike_dgl.data.prepare.tables import SHOWN, Reading, read_batches, read_rows
from spike_dgl.data.values import MISSING, WHOLE_NUMBER

BATCHES_A_VOCABULARY = 32
"""Number of batches after which their separate lists of ids are merged, unless they are small."""
ROWS_A_VOCABULARY = 1 << 20
"""Minimum number of rows of these batches; merging takes time for every known id."""

_WHOLE_NUMBER = r"^(0|[1-9][0-9]{0,17})$"


@dataclass(frozen=True)
class InteractionTable:
    """Table of interactions and its columns.

    Parameters
    ----------
    file
        File of the table, or folder of its part files.
    user, item
        Columns of raw ids.
    rating, time, review
        Columns of ratings, times and review texts, if any.
    layout
        Layout of the file; by default that of its file extension.
    rows_are
        Name of its rows in counts and messages.
    """

    file: Path
    user: Column
    item: Column
    rating: Column | None = None
    time: Column | None = None
    review: Column | None = None
    layout: Layout | None = None
    rows_are: str = "rows"

    @property
    def columns(self) -> list[Column]:
        """Columns to read, including reviews, so that the second pass, which uses them, skips the same rows."""
        columns = (self.user, self.item, self.rating, self.time, self.review)
        return [column for column in columns if column is not None]


def read_log(table: InteractionTable, reading: Reading) -> tuple[InteractionLog, NDArray[np.float64] | None]:
    """Read all rows of a table as interactions, with their ratings [X], or None if it has no ratings.

    Needs about 24 bytes of memory per row, plus the distinct ids. Without a column of times, all times are 0.
    """
    users, items = _Codes(), _Codes()
    ratings: list[NDArray[np.float64]] = []
    times: list[NDArray[np.int64]] = []
    for batch in read_batches(table.file, table.columns, reading, table.layout):
        users.add(batch.columns[table.user.name])
        items.add(batch.columns[table.item.name])
        if table.rating is not None:
            ratings.append(batch.columns[table.rating.name].to_numpy())
        if table.time is not None:
            times.append(batch.columns[table.time.name].to_numpy())
    user_rows, user_ids = users.finish(table.user)
    item_rows, item_ids = items.finish(table.item)
    moments = np.concatenate(times) if times else np.zeros(len(user_rows), np.int64)
    rows = np.arange(len(user_rows), dtype=np.int64)
    log = InteractionLog(user_rows, item_rows, moments, rows, user_ids, item_ids)
    rated = np.concatenate(ratings) if ratings else np.empty(0)
    missing = (user_rows < 0) | (item_rows < 0)
    if missing.any():
        columns = [c.name for c, r in ((table.user, user_rows), (table.item, item_rows)) if (r < 0).any()]
        _skip_missing(table, columns, int(missing.sum()), reading)
        log, rated = log.select(~missing), rated[~missing] if table.rating else rated
    return log, rated if table.rating is not None else None


def _skip_missing(table: InteractionTable, columns: Sequence[str], number: int, reading: Reading) -> None:
    """Count rows with a missing id in one of `columns`, and record the lines of the first of them."""
    found = (
        (file, line, column)
        for file in files_of(table.file)
        for line, cells in read_rows(file, columns, Reading(limit=sys.maxsize), table.layout)
        for column, cell in zip(columns, cells, strict=True)
        if cell in MISSING
    )
    shown = list(islice(found, min(number, SHOWN)))
    for place, (file, line, column) in enumerate(shown, start=1):
        problem = f"missing id in column '{column}', whose other ids are whole numbers"
        reading.skip(file, line, problem, 1 if place < len(shown) else number - len(shown) + 1)


def reviews(
    table: InteractionTable,
    rows: NDArray[np.integer],
    users: NDArray[np.integer],
    items: NDArray[np.integer],
    reading: Reading,
) -> Iterator[str]:
    """Yield JSON lines ``{"user": row, "item": row, "text": ...}`` of selected interactions, in the table's order.

    Parameters
    ----------
    table
        Table with the column `review`; it is read a second time.
    rows, users, items
        Positions of the interactions in the table, ascending, and their row indices [n].
    reading
        Reading that skips the same broken rows as the first pass.
    """
    if table.review is None:
        return
    start = 0
    for batch in read_batches(table.file, table.columns, reading, table.layout):
        first, last = np.searchsorted(rows, (start, start + len(batch)))
        texts = batch.columns[table.review.name].take(pa.array(rows[first:last] - start)).to_pylist()
        for user, item, text in zip(
            users[first:last].tolist(), items[first:last].tolist(), texts, strict=True
        ):
            if plain := without_markup(text):
                yield json.dumps({"user": user, "item": item, "text": plain}, ensure_ascii=False)
        start += len(batch)


class _Codes:
    """Numbering of ids, batch by batch; every distinct id is stored once."""

    def __init__(self) -> None:
        self._known: Any = None
        self._fresh: list[Any] = []
        self._codes: list[NDArray[np.int32]] = []

    def add(self, ids: Any) -> None:
        self._fresh.append(ids.dictionary_encode())
        if len(self._fresh) >= BATCHES_A_VOCABULARY and sum(map(len, self._fresh)) >= ROWS_A_VOCABULARY:
            self._unify()

    def finish(self, column: Column) -> tuple[NDArray[np.int32], Any]:
        """Return the codes of all ids, -1 for a missing id, and the distinct ids, ascending."""
        self._unify()
        if self._known is None:
            return np.empty(0, np.int32), pa.array([], column.arrow_type)
        meant = _corrected(self._known)
        order = _ascending(meant.dictionary)
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        final = np.append(rank, np.int32(-1))[pc.fill_null(meant.indices, -1).to_numpy()]
        for position, codes in enumerate(self._codes):
            self._codes[position] = final[codes]
        return np.concatenate(self._codes), meant.dictionary.take(order)

    def _unify(self) -> None:
        """Merge the batches' lists of ids; known ids come first, so that they keep their numbers."""
        if not self._fresh:
            return
        known = [] if self._known is None else [_empty_array(self._known)]
        chunks = pa.chunked_array([*known, *self._fresh]).unify_dictionaries().chunks
        self._codes += [chunk.indices.to_numpy().astype(np.int32) for chunk in chunks[len(known) :]]
        self._known, self._fresh = chunks[-1].dictionary, []


def _corrected(ids: Any) -> Any:
    """Apply `corrected_ids` to distinct ids; returns a dictionary array, null where an id is missing."""
    if pa.types.is_string(ids.type):
        missing = pc.is_in(ids, pa.array(sorted(MISSING)))
        is_odd = pc.or_(missing, pc.ends_with(ids, ".0"))
        is_number = pc.or_(missing, pc.match_substring_regex(ids, f"^{WHOLE_NUMBER}$"))
        if pc.any(is_odd).as_py() and pc.all(is_number).as_py():
            ids = pc.if_else(
                missing, pa.scalar(None, pa.string()), pc.replace_substring_regex(ids, r"\.0$", "")
            )
    return ids.dictionary_encode()


def _empty_array(dictionary: Any) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), dictionary)


def _ascending(ids: Any) -> NDArray[np.int64]:
    """Return the sorting order of ids: by value if all are whole numbers, else alphabetical."""
    if pa.types.is_string(ids.type) and pc.all(pc.match_substring_regex(ids, _WHOLE_NUMBER)).as_py():
        ids = ids.cast(pa.int64())
    order: NDArray[np.int64] = pc.array_sort_indices(ids).to_numpy().astype(np.int64)
    return order
