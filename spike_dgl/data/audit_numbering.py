"""Checks for wrong row numbers: swapped columns, files that count from 1, entities numbered separately from items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from spike_dgl.data.audit_nodes import parts_with, rows_with
from spike_dgl.data.dataset import Dataset
from spike_dgl.data.findings import Finding, Level, finding
from spike_dgl.data.statistics import entities_with_triples
from spike_dgl.data.values import MISSING
from spike_dgl.typing import BoolArray, IndexArray

MIN_ROWS = 10
"""Minimum number of rows: with fewer, a pattern of first and last rows can be chance."""
NEAR_THE_END = 0.9
"""Tails without a gap that end below this share of the items have their own numbers; above it they may be items."""
MANY_RELATIONS = 20
"""Minimum number of relations to check for swapped columns."""
TIMES_MORE = 5
"""Columns are taken to be swapped if there are at least this many times as many relations as heads or tails."""
Source: TypeAlias = tuple[str, BoolArray]
"""Name of a file or split, and a mask of the rows in it."""
MANY_ITEMS = 0.5
"""Share of tails that are items above which to warn."""


def numbering(dataset: Dataset) -> Iterator[Finding]:
    """Check for wrong row numbers that are still within range."""
    yield _spelt_as_missing(dataset)
    yield _numbered_apart(dataset)
    yield _swapped_columns(dataset)
    yield _counted_from_one(dataset)


def _spelt_as_missing(dataset: Dataset) -> Finding:
    vocabularies = (dataset.users, dataset.items, dataset.entities)
    found = [f"{words.kind} '{raw}'" for words in vocabularies for raw in words.ids if raw in MISSING]
    message = f"Rows without an id may have been merged under {', '.join(found[:3])}: remove them if so."
    return finding("ids that spell a missing value", len(found), "warn", message)


def _numbered_apart(dataset: Dataset) -> Finding:
    """Check for tails (or heads) that are numbered separately from the items and so point to items."""
    check, num_items = "tails that are items", dataset.num_items
    triples = dataset.triples
    for what, ends, others in (
        ("tail", triples.heads, triples.tails),
        ("head", triples.tails, triples.heads),
    ):
        if not len(ends) or ends.max() >= num_items:
            continue
        on_items = others < num_items
        share = f"{on_items.mean():.0%} of all {what}s"
        if _counts_from_zero(others) and _is_own_numbering(others, triples.relations, num_items):
            message = (
                f"{share}, and the {what}s are 0 to {others.max()} without a gap: they are numbered separately from "
                f"the items, which are entities 0 to {num_items - 1}. Add {num_items} to every {what} in kg_final.txt."
            )
            return finding(check, on_items.sum(), _fail(dataset), message)
        if on_items.mean() > MANY_ITEMS:
            message = f"{share}: correct if relations join items to items, wrong if {what}s are not items."
            return finding(check, on_items.sum(), "warn", message)
    return finding(check, 0, "pass", "")


def _counts_from_zero(rows: IndexArray) -> bool:
    different = np.unique(rows)
    return len(different) >= MIN_ROWS and int(different[-1]) == len(different) - 1


def _is_own_numbering(rows: IndexArray, relations: IndexArray, num_items: int) -> bool:
    """Return whether gapless rows are numbered separately from the items.

    They are if they end far before the last item, or if some relation has rows both below and above it.
    """
    if rows.max() < num_items:
        return bool(rows.max() < NEAR_THE_END * num_items)
    return bool(np.intersect1d(relations[rows < num_items], relations[rows >= num_items]).size)


def _swapped_columns(dataset: Dataset) -> Finding:
    triples = dataset.triples
    num_relations = len(np.unique(triples.relations))
    swapped = [
        what
        for what, rows in (("heads", triples.heads), ("tails", triples.tails))
        if len(rows) and rows.max() < dataset.num_items and num_relations >= TIMES_MORE * (rows.max() + 1)
    ]
    count = num_relations if num_relations >= MANY_RELATIONS and swapped else 0
    message = (
        f"{num_relations:,} relations, and all {' and '.join(swapped)} are among the first few items: columns are "
        "swapped. A line of kg_final.txt is `head relation tail`."
    )
    return finding("relations that are entities", count, _fail(dataset), message)


def _counted_from_one(dataset: Dataset) -> Finding:
    """Check for a file whose rows are 1 to n while another file has rows 0 to n - 1."""
    check = "files that count from 1 beside files that count from 0"
    for kind, *sources in _sources(dataset):
        for (behind, rows), (ahead, others) in (sources, sources[::-1]):
            if _is_ahead(rows, others):
                last = len(rows) - 1
                message = (
                    f"{kind} are 0 to {last - 1} in {behind} and 1 to {last} in {ahead}, so they do not match. "
                    f"Subtract 1 in {ahead}."
                )
                return finding(check, 1, _fail(dataset), message)
    hint = _hint_of_first_item(dataset)
    return finding(check, bool(hint), "warn", hint)


def _sources(dataset: Dataset) -> Iterator[tuple[str, Source, Source]]:
    """Yield pairs of sources that should have the same rows."""
    for kind, side in (("users", "users"), ("items", "entities")):
        train, valid, test = parts_with(dataset, kind)
        if kind == "users":
            yield kind, ("the training split", train | valid), ("the test split", test)
        for what in ("profiles", "descriptions"):
            texts, size = getattr(getattr(dataset, what), side), len(train)
            described = rows_with([row for row in texts if row < size], size)
            yield kind, ("the interactions", train | valid | test), (f"their {what}", described)


def _is_ahead(rows: BoolArray, others: BoolArray) -> bool:
    """Return whether `rows` are all but the last, and `others` all but the first."""
    ends = len(rows) >= MIN_ROWS and not others[0] and not rows[-1]
    return bool(ends and rows[:-1].all() and others[1:].all())


def _hint_of_first_item(dataset: Dataset) -> str:
    """Return a hint if the first item is the only one without interactions, or without triples; else an empty text."""
    interacting = np.logical_or.reduce(parts_with(dataset, "items"))
    in_graph = entities_with_triples(dataset)[: dataset.num_items]
    for lacking, other, what, where in (
        (interacting, in_graph, "interactions", "the interactions"),
        (in_graph, interacting, "a triple", "the graph"),
    ):
        if len(lacking) >= MIN_ROWS and other[0] and not lacking[0] and lacking[1:].all():
            return f"The only item without {what} is the first: check whether items in {where} count from 1."
    return ""


def _fail(dataset: Dataset) -> Level:
    """Return "fail", or "warn" if settings changed the data: they may have caused the pattern on purpose."""
    return "warn" if dataset.altered else "fail"
