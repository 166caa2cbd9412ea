"""The way from every source to a data set: read, filter, split, build the graph, write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spike_dgl.data.dataset import Interactions
from spike_dgl.data.export import recbole
from spike_dgl.data.load import load_dataset
from spike_dgl.data.prepare.collect import InteractionTable, read_log, reviews
from spike_dgl.data.prepare.interactions import InteractionLog, first_of_each_pair, k_core, within_days
from spike_dgl.data.prepare.knowledge import Fact, KnowledgeGraph, link, with_inverses, without_rare
from spike_dgl.data.prepare.options import PrepareOptions, milliseconds
from spike_dgl.data.prepare.tables import BrokenRows
from spike_dgl.data.prepare.triple_files import TripleFiles
from spike_dgl.data.prepare.write import (
    PreparedDataset,
    check_destination,
    checksum,
    new_folder,
    write_card,
    write_dataset,
    write_lines,
)
from spike_dgl.data.splits import leave_one_out, split_at_random, split_by_time, split_by_time_of_all
from spike_dgl.errors import DataError

REVIEWS = "reviews.jsonl"
"""Reviews of training interactions: no other may go into a profile."""


@dataclass(frozen=True)
class ItemKnowledge:
    """What a source tells about the items that remain.

    Parameters
    ----------
    items
        Entity id -> readable name of each item, in the order that was asked for.
    facts
        Statements about them.
    relations
        Relation ids that come first.
    texts
        Descriptions by entity id of the item.
    counts
        What ``dataset.json`` says about the tables they come from.
    """

    items: Mapping[str, str]
    facts: Iterable[Fact] = ()
    relations: Sequence[str] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Raw files, and what a module knows about them.

    Parameters
    ----------
    name
        Of the data set.
    made_by
        The command.
    interactions
        Where they stand.
    describe
        What is known about items, by their raw ids; it may count broken rows.
    files
        Everything that is read, in the order in which ``dataset.json`` lists it.
    options
        What ``dataset.json`` says about options.
    terms
        Licence and citation, where they are known.
    enclosed
        Files that are copied along.
    broken
        Takes rows that cannot be read.
    """

    name: str
    made_by: str
    interactions: InteractionTable
    describe: Callable[[Sequence[str], BrokenRows], ItemKnowledge]
    files: Sequence[Path]
    options: Mapping[str, Any]
    terms: Mapping[str, str] = field(default_factory=dict)
    enclosed: Sequence[Path] = ()
    broken: BrokenRows = field(default_factory=BrokenRows)


def prepare(
    source: Source,
    destination: Path,
    options: PrepareOptions,
    *,
    also: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Make a data set folder. Equal files and options give equal bytes; after an error no folder is left behind.

    Parameters
    ----------
    source
        What to read.
    destination
        Folder to make.
    options
        Thresholds, split and further triples.
    also
        Other layouts to write besides ours: ``"recbole"``.
    overwrite
        Replace an earlier data set at the destination.
    progress
        Show bars.

    Returns
    -------
    dict
        What ``dataset.json`` says: options, counts after each step, statistics, checksums.

    Raises
    ------
    DataError
        If a file is missing or broken, no interaction is left, or the destination cannot be written.
    """
    check_destination(destination, overwrite)
    triple_files = TripleFiles.of(options)
    broken = source.broken
    log, interaction_steps = _interactions(source.interactions, options, broken, progress)
    user_ids, item_ids = log.raw_ids()
    knowledge = source.describe(item_ids, broken)
    graph, graph_steps = _graph(knowledge, item_ids, triple_files, options, broken)
    parts = _split(log, options)
    texts = {row: text for row, item in enumerate(knowledge.items) if (text := knowledge.texts.get(item, ""))}
    dataset = PreparedDataset(user_ids, item_ids, *parts, graph, texts)
    _check_result(source, options, dataset)
    files = [*source.files, *(triple_files.files if triple_files else ())]
    card = {
        "name": source.name,
        "made_by": source.made_by,
        "options": source.options,
        **knowledge.counts,
        **({"broken_rows": {"count": broken.count, "first": broken.first}} if broken.count else {}),
        "interaction_steps": interaction_steps,
        "graph_steps": graph_steps,
        "statistics": dataset.statistics(),
        **source.terms,
        "inputs": {file.name: checksum(file) for file in files},
    }
    with new_folder(destination, overwrite) as folder:
        write_dataset(dataset, folder)
        if source.interactions.review is not None:
            write_lines(
                folder / REVIEWS, _training_reviews(source.interactions, log, parts[0], broken, progress)
            )
        if "recbole" in also:
            atomic = folder / "recbole" / source.name
            atomic.mkdir(parents=True)
            recbole.write(load_dataset(folder, valid_fraction=0), atomic)
        for file in source.enclosed:
            (folder / file.name).write_bytes(file.read_bytes())
        return write_card(folder, card)


def _check_result(source: Source, options: PrepareOptions, dataset: PreparedDataset) -> None:
    """Refuse to write what could not be used."""
    parts, graph = (dataset.train, dataset.valid, dataset.test), dataset.graph
    for part, pairs in {"training": dataset.train, "test": dataset.test}.items():
        if not len(pairs):
            problem = f"none of {sum(map(len, parts))} interactions falls into the {part} part"
            raise DataError(
                source.interactions.file, problem, "Keep more interactions, or split in another way."
            )
    if not len(graph.triples):
        problem = f"no fact joins any of {graph.num_items} items to an entity of at least {options.min_entity_items}"
        remedy = (
            "Lower min_entity_items, or name further attributes or triples: SPiKE needs a knowledge graph."
        )
        raise DataError(source.files[-1], problem, remedy)


def _interactions(
    table: InteractionTable, options: PrepareOptions, broken: BrokenRows, progress: bool
) -> tuple[InteractionLog, dict[str, dict[str, int]]]:
    """The interactions that remain, and the counts after each step."""
    _check_columns(table, options)
    log, ratings = read_log(table, broken, progress)
    if not len(log):
        raise DataError(table.file, "holds no interaction", "See whether it is the file you mean.")
    steps = {table.rows_are: log.counts()}
    if options.min_rating is not None and ratings is not None:
        log = log.select(ratings >= options.min_rating)
        steps["min_rating"] = log.counts()
    if options.from_date or options.to_date:
        first, last = (milliseconds(day) if day else None for day in (options.from_date, options.to_date))
        log = log.select(within_days(log, first, last))
        steps["dates"] = log.counts()
    log = first_of_each_pair(log)
    steps["distinct_pairs"] = log.counts()
    log = k_core(log, options.k_core)
    steps["k_core"] = log.counts()
    if not len(log):
        raise _nothing_left(table, options, steps)
    return log, steps


def _check_columns(table: InteractionTable, options: PrepareOptions) -> None:
    if options.min_rating is not None and table.rating is None:
        raise DataError(
            table.file, "min_rating needs a column of ratings", "Name it, or leave min_rating out."
        )
    needs_times = options.from_date or options.to_date or options.split != "random"
    if needs_times and table.time is None:
        problem = "dates and splits by time need a column of times"
        raise DataError(table.file, problem, "Name it, or use split=random and no dates.")


def _nothing_left(
    table: InteractionTable, options: PrepareOptions, steps: Mapping[str, Mapping[str, int]]
) -> DataError:
    counts = {step: count["interactions"] for step, count in steps.items()}
    parts = []
    if "min_rating" in counts:
        parts.append(f"{counts['min_rating']} are at least {options.min_rating}")
    if "dates" in counts:
        parts.append(f"{counts['dates']} lie within the dates")
    parts.append(
        f"none is left in their {options.k_core}-core" if parts else f"none is in the {options.k_core}-core"
    )
    problem = f"of {counts[table.rows_are]} {table.rows_are}, {', '.join(parts[:-1])}{', and ' if parts[:-1] else ''}"
    advice = ["k_core", *(["min_rating"] if "min_rating" in counts else [])][::-1]
    dates = ", or take more days" if "dates" in counts else ""
    return DataError(table.file, problem + parts[-1], f"Lower {' or '.join(advice)}{dates}.")


def _graph(
    knowledge: ItemKnowledge,
    item_ids: Sequence[str],
    files: TripleFiles | None,
    options: PrepareOptions,
    broken: BrokenRows,
) -> tuple[KnowledgeGraph, dict[str, dict[str, int]]]:
    """The knowledge graph, and its size before and after rare entities go."""
    steps, facts, names = dict[str, dict[str, int]](), knowledge.facts, dict[str, str]()
    if files is not None:
        linked, steps["links"] = files.linked_items(dict(zip(item_ids, knowledge.items, strict=True)), broken)
        facts, names = chain(facts, files.facts(linked, broken)), files.names(broken)
    graph = link(facts, knowledge.items, knowledge.relations, options.hops if files else 1, names)
    steps["facts"] = graph.counts()
    graph = without_rare(graph, options.min_entity_items, options.min_relation_triples)
    steps["min_entity_items"] = graph.counts()
    return (with_inverses(graph) if options.inverse_relations else graph), steps


def _split(log: InteractionLog, options: PrepareOptions) -> tuple[Interactions, Interactions, Interactions]:
    users, items, times = log.users.astype(np.int64), log.items.astype(np.int64), log.times
    shares = {"valid_fraction": options.valid_fraction, "test_fraction": options.test_fraction}
    if options.split == "random":
        return split_at_random(users, items, **shares, seed=options.seed)
    if options.split == "leave-one-out":
        return leave_one_out(users, items, times)
    split = split_by_time if options.split == "time" else split_by_time_of_all
    return split(users, items, times, **shares)


def _training_reviews(
    table: InteractionTable, log: InteractionLog, train: Interactions, broken: BrokenRows, progress: bool
) -> Iterable[str]:
    num_items = len(log.item_ids)
    keys: NDArray[np.int64] = log.users.astype(np.int64) * num_items + log.items
    chosen = np.isin(keys, train.keys(num_items))
    return reviews(table, log.rows[chosen], log.users[chosen], log.items[chosen], broken.limit, progress)


def recorded(options: PrepareOptions) -> dict[str, Any]:
    """All options for ``dataset.json``; of files the names, since a folder elsewhere makes no other data set."""
    files = ("triples", "links", "entity_names")
    values = asdict(options)
    return {name: Path(value).name if name in files and value else value for name, value in values.items()}
