"""Precision of the lists for queries: sentences, and the facts that make an item right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from spike_dgl.config import read_yaml_list
from spike_dgl.data.dataset import Dataset
from spike_dgl.errors import ConfigError
from spike_dgl.markdown import markdown_table
from spike_dgl.recommend.cold_start import UnknownWordsError
from spike_dgl.recommend.recommender import Recommender
from spike_dgl.recommend.titles import Question
from spike_dgl.runs.averages import mean_and_deviation, render_spread
from spike_dgl.typing import BoolArray, FloatArray

CUTOFF = 10


@dataclass(frozen=True)
class Query:
    """A sentence, and the items [I] that it asks for."""

    text: str
    right: BoolArray


@dataclass(frozen=True)
class QueryResult:
    """Precision@10 of the list for a query; the divisor is the number of right items if there are fewer than 10."""

    text: str
    by: str
    precision: float


def read_queries(file: Path, dataset: Dataset) -> list[Query]:
    """Read a YAML list of queries: ``text``, and pairs of relation and entity in ``any`` and ``all``.

    An item is right if it has at least one fact of ``any`` and all facts of ``all``.

    Raises
    ------
    ConfigError
        If the file is broken, or a query has no fact or no right item.
    UnknownIdError
        If a relation or entity is unknown.
    """
    queries = []
    for number, entry in enumerate(read_yaml_list(file), start=1):
        if not isinstance(entry, dict) or not entry.keys() <= {"text", "any", "all"} or "text" not in entry:
            raise ConfigError(f"{file}: query {number} needs text, and any or all, not {entry!r}")
        some, every = (_items_with(dataset, entry.get(key, ())) for key in ("any", "all"))
        right = np.logical_or.reduce(some) if some else np.ones(dataset.num_items, bool)
        right = np.logical_and.reduce([right, *every])
        if not (some or every) or not right.any():
            raise ConfigError(f"{file}: no item is right for query {number}, '{entry['text']}'")
        queries.append(Query(str(entry["text"]), right))
    return queries


def _items_with(dataset: Dataset, facts: Sequence[Any]) -> list[BoolArray]:
    """Return for each fact the mask [I] of the items that have it."""
    masks, triples = [], dataset.triples
    for relation, entity in facts:
        found = (triples.relations == dataset.relations.find(relation)) & (
            triples.tails == dataset.entities.find(entity)
        )
        mask = np.zeros(dataset.num_entities, bool)
        mask[triples.heads[found]] = True
        masks.append(mask[: dataset.num_items])
    return masks


def query_results(recommender: Recommender, queries: Sequence[Query]) -> Iterator[QueryResult]:
    """Yield the precision of each query by the product's search, by its two parts, and by popularity."""
    cold_start, items = recommender.cold_start, recommender.item_embeddings
    train = recommender.dataset.train
    popularity = np.bincount(train.items, minlength=recommender.dataset.num_items).astype(np.float32)
    ways: dict[str, Callable[[str, Question], FloatArray]] = {
        "search": lambda _, asked: cold_start.scores_of_text(asked, items),
        "matching alone": lambda text, _: cold_start.text_match().find(text).scores,
        "fold-in alone": lambda text, _: cold_start.folded_in_scores(text, items),
        "popularity": lambda *_: popularity,
    }
    for query in queries:
        asked = cold_start.read(query.text)
        liked = list(asked.liked)  # in no list, however it is made
        for by, score in ways.items():
            try:
                scores = score(query.text, asked).copy()
                scores[liked] = -np.inf
                best = np.argsort(-scores, kind="stable")[:CUTOFF]
            except UnknownWordsError:  # the search has no list then
                best = np.empty(0, np.int64)
            right = query.right[best].sum() / min(CUTOFF, np.delete(query.right, liked).sum())
            yield QueryResult(query.text, by, float(right))


def render_queries(runs: Sequence[Sequence[QueryResult]]) -> str:
    """Render a table: mean over queries, and over runs with their standard deviation."""
    rows = [["by", "queries", f"precision@{CUTOFF}"]]
    for by in dict.fromkeys(result.by for result in runs[0]):
        means = [mean(result.precision for result in results if result.by == by) for results in runs]
        number = sum(result.by == by for result in runs[0])
        rows.append([by, str(number), render_spread(*mean_and_deviation(means))])
    return markdown_table(rows)
