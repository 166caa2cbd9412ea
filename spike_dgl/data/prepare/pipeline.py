"""Preparation of a data set from any source: read, filter, split, build the graph, write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spike_dgl.data.dataset import Dataset, Interactions, NodeTexts, Vocabulary
from spike_dgl.data.export import recbole
from spike_dgl.data.prepare.collect import InteractionTable, read_log, reviews
from spike_dgl.data.prepare.interactions import InteractionLog, first_of_each_pair, k_core, within_days
from spike_dgl.data.prepare.item_tables import read_item_tables
from spike_dgl.data.prepare.knowledge import (
    ItemKnowledge,
    KnowledgeGraph,
    item_entities,
    link,
    with_inverses,
    without_rare,
)
from spike_dgl.data.prepare.missing import present_facts, present_names
from spike_dgl.data.prepare.options import FILES, PrepareOptions, milliseconds
from spike_dgl.data.prepare.part_files import files_of
from spike_dgl.data.prepare.streams import open_raw
from spike_dgl.data.prepare.tables import Reading
from spike_dgl.data.prepare.triple_files import TripleFiles, one_word
from spike_dgl.data.prepare.write import (
    check_destination,
    checksum,
    new_folder,
    write_card,
    write_dataset,
    write_lines,
    write_times,
)
from spike_dgl.data.reviews import REVIEWS
from spike_dgl.data.splits import leave_one_out, split_at_random, split_by_time, split_by_time_of_all
from spike_dgl.data.statistics import statistics
from spike_dgl.errors import DataError


@dataclass(frozen=True)
class Source:
    """Raw files of a data set and how to read them.

    Parameters
    ----------
    name
        Name of the data set.
    made_by
        Command that makes it.
    interactions
        Table of interactions.
    item_kind
        Prefix of the items' entity ids, which keeps an item and an attribute with the same text apart.
    describe
        Function that returns names, texts and facts about items, given their entity ids by raw id.
    files
        All files that `interactions` and `describe` read.
    options
        Thresholds, split, further tables and triples, and options of this source.
    describe_users
        Function that returns descriptions of users by raw id, given all raw ids.
    terms
        Licence and citation, if known.
    enclosed
        Files to copy into the data set's folder.
    """

    name: str
    made_by: str
    interactions: InteractionTable
    item_kind: str
    describe: Callable[[Mapping[str, str], Reading], ItemKnowledge]
    files: Sequence[Path]
    options: PrepareOptions
    describe_users: Callable[[Sequence[str], Reading], Mapping[str, str]] = lambda _ids, _reading: {}
    terms: Mapping[str, str] = field(default_factory=dict)
    enclosed: Sequence[Path] = ()

    @property
    def all_files(self) -> list[Path]:
        """All files and folders that are read, without repetition."""
        tables = [Path(table.file) for table in self.options.items]
        named = [Path(file) for name in FILES if (file := getattr(self.options, name))]
        return list(dict.fromkeys([*self.files, *tables, *named]))


def prepare(
    source: Source,
    destination: Path,
    *,
    also: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Write a data set folder. The same files and options give the same bytes; after an error, no folder is left.

    Parameters
    ----------
    source
        Files to read, and options.
    destination
        Folder to create.
    also
        Formats to write in addition to this package's: ``"recbole"``.
    overwrite
        Replace an earlier data set at the destination.
    progress
        Show progress bars.

    Returns
    -------
    dict
        Contents of ``dataset.json``: options, counts after each step, statistics, checksums.

    Raises
    ------
    DataError
        If a file is missing or broken, no interaction is left, or the destination cannot be written.
    """
    check_destination(destination, overwrite)
    options, reading = source.options, Reading(source.options.broken_rows, progress)
    log, interaction_steps = _interactions(source.interactions, options, reading)
    user_ids, item_ids = log.raw_ids()
    items = item_entities(source.item_kind, item_ids)
    knowledge = _knowledge(source, items, reading)
    graph, linked_names, graph_steps = _graph(knowledge, items, options, reading)
    parts = _split(log, options)
    dataset = _dataset(source, (user_ids, item_ids), parts, graph, knowledge, reading)
    dataset = dataset.replace(linked_names=linked_names)
    _check_result(source, dataset)
    card = {
        "name": source.name,
        "made_by": source.made_by,
        "options": recorded(options),
        **knowledge.counts,
        **({"broken_rows": {"count": reading.count, "first": reading.first}} if reading.count else {}),
        **({"missing_values": reading.missing} if reading.missing else {}),
        "interaction_steps": interaction_steps,
        "graph_steps": graph_steps,
        "statistics": statistics(dataset),
        **source.terms,
        "inputs": _checksums(source.all_files),
    }
    with new_folder(destination, overwrite) as folder:
        write_dataset(dataset, folder)
        if source.interactions.time is not None:
            for part in ("train", "valid", "test"):
                pairs = getattr(dataset, part)
                if len(pairs):
                    write_times(part, pairs, _seconds(log, pairs), folder)
        if source.interactions.review is not None:
            again = Reading(options.broken_rows, progress)
            lines = _training_reviews(source.interactions, log, dataset.train, again)
            write_lines(folder / REVIEWS, lines)
        if "recbole" in also:
            atomic = folder / "recbole" / source.name
            atomic.mkdir(parents=True)
            recbole.write(dataset, atomic)
        for file in source.enclosed:
            with open_raw(file) as raw:
                (folder / file.name).write_bytes(raw.read())
        return write_card(folder, card)


def recorded(options: PrepareOptions) -> dict[str, Any]:
    """Return all options for ``dataset.json``; files without their folders, which do not change the data set."""
    return {name: _without_folders(name, value) for name, value in asdict(options).items()}


def _without_folders(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_folders(key, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(name, inner) for inner in value]
    return Path(value).name if value and name in ("file", *FILES) else value


def _checksums(tables: Sequence[Path]) -> dict[str, str]:
    """Return SHA-256 by file name, with the folder's name if two have the same name; of a folder, of all its files."""
    names = Counter(table.name for table in tables)
    base = {table: table.parent if names[table.name] == 1 else table.parents[1] for table in tables}
    return {
        file.relative_to(base[table]).as_posix(): checksum(file)
        for table in tables
        for file in files_of(table)
    }


def _knowledge(source: Source, items: Mapping[str, str], reading: Reading) -> ItemKnowledge:
    """Collect names, texts and facts about items from the source and further tables; default names are raw ids."""
    own, further = source.describe(items, reading), read_item_tables(source.options.items, items, reading)
    names = present_names(own.names, reading) | present_names(further.names, reading)
    texts = {
        entity: " ".join(filter(None, (own.texts.get(entity), further.texts.get(entity))))
        for entity in items.values()
    }
    return ItemKnowledge(
        {entity: names.get(entity, raw) for raw, entity in items.items()},
        present_facts(chain(own.facts, further.facts), set(items.values()), reading),
        list(dict.fromkeys((*own.relations, *further.relations))),
        texts,
        {**own.counts, **further.counts},
    )


def _dataset(
    source: Source,
    ids: tuple[Sequence[str], Sequence[str]],
    parts: tuple[Interactions, Interactions, Interactions],
    graph: KnowledgeGraph,
    knowledge: ItemKnowledge,
    reading: Reading,
) -> Dataset:
    user_ids, item_ids = ids
    about_users = source.describe_users(user_ids, reading)
    train, valid, test = parts
    return Dataset(
        name=source.name,
        users=Vocabulary("user", tuple(user_ids)),
        items=Vocabulary("item", tuple(item_ids), graph.entity_names[: graph.num_items]),
        entities=Vocabulary("entity", graph.entity_ids, graph.entity_names),
        relations=Vocabulary("relation", graph.relation_ids),
        train=train,
        valid=valid,
        test=test,
        triples=graph.triples,
        descriptions=NodeTexts(
            users={row: about_users[raw] for row, raw in enumerate(user_ids) if about_users.get(raw)},
            entities={
                row: text for row, item in enumerate(knowledge.names) if (text := knowledge.texts[item])
            },
        ),
    )


def _check_result(source: Source, dataset: Dataset) -> None:
    """Raise `DataError` if training, test or the knowledge graph is empty."""
    total = len(dataset.train) + len(dataset.valid) + len(dataset.test)
    for part, pairs in {"training": dataset.train, "test": dataset.test}.items():
        if not len(pairs):
            problem = f"none of {total} interactions is in the {part} split"
            raise DataError(
                source.interactions.file, problem, "Keep more interactions, or split in another way."
            )
    if not len(dataset.triples):
        least = source.options.min_entity_items
        problem = (
            f"no fact links any of {dataset.num_items} items to an entity with at least {least} neighbours"
        )
        remedy = "Lower min_entity_items, or add attributes or triples: SPiKE needs a knowledge graph."
        raise DataError(source.interactions.file, problem, remedy)


def _interactions(
    table: InteractionTable, options: PrepareOptions, reading: Reading
) -> tuple[InteractionLog, dict[str, dict[str, int]]]:
    """Return the filtered interactions, and the counts after each step."""
    _check_columns(table, options)
    log, ratings = read_log(table, reading)
    if not len(log):
        raise DataError(table.file, "has no interactions", "Check that it is the right file.")
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
            table.file, "min_rating needs a column of ratings", "Set rating to it, or remove min_rating."
        )
    needs_times = options.from_date or options.to_date or options.split != "random"
    if needs_times and table.time is None:
        problem = "dates and splits by time need a column of times"
        raise DataError(table.file, problem, "Set time to it, or use split=random and no dates.")


def _nothing_left(
    table: InteractionTable, options: PrepareOptions, steps: Mapping[str, Mapping[str, int]]
) -> DataError:
    counts = {step: count["interactions"] for step, count in steps.items()}
    parts = []
    if "min_rating" in counts:
        parts.append(f"{counts['min_rating']} are at least {options.min_rating}")
    if "dates" in counts:
        parts.append(f"{counts['dates']} are within the dates")
    parts.append(
        f"none is left in their {options.k_core}-core" if parts else f"none is in the {options.k_core}-core"
    )
    problem = f"of {counts[table.rows_are]} {table.rows_are}, {', '.join(parts[:-1])}{', and ' if parts[:-1] else ''}"
    advice = ["k_core", *(["min_rating"] if "min_rating" in counts else [])][::-1]
    dates = ", or take more days" if "dates" in counts else ""
    return DataError(table.file, problem + parts[-1], f"Lower {' or '.join(advice)}{dates}.")


def _graph(
    knowledge: ItemKnowledge, items: Mapping[str, str], options: PrepareOptions, reading: Reading
) -> tuple[KnowledgeGraph, dict[int, str], dict[str, dict[str, int]]]:
    """Return the graph, the names of the items' linked entities by item row, and the graph's size after each step."""
    steps, facts, names = dict[str, dict[str, int]](), knowledge.facts, dict[str, str]()
    linked: dict[str, str] = {}
    files = TripleFiles.from_options(options)
    if files is not None:
        linked, steps["links"] = files.linked_items(items, reading)
        facts, names = chain(facts, files.facts(linked, reading)), files.names(reading)
    graph = link(facts, knowledge.names, knowledge.relations, names)
    if files is not None:
        files.check_names(names, [*linked, *graph.entity_ids[graph.num_items :]])
    steps["facts"] = graph.counts()
    graph = without_rare(graph, options.min_entity_items, options.min_relation_triples)
    steps["frequent_enough"] = graph.counts()
    if options.inverse_relations:
        graph = with_inverses(graph)
        steps["inverse_relations"] = graph.counts()
    rows = {entity: row for row, entity in enumerate(knowledge.names)}
    linked_names = {
        rows[item]: name for entity, item in linked.items() if (name := names.get(one_word(entity)))
    }
    return graph, linked_names, steps


def _split(log: InteractionLog, options: PrepareOptions) -> tuple[Interactions, Interactions, Interactions]:
    users, items, times = log.users.astype(np.int64), log.items.astype(np.int64), log.times
    shares = {"valid_fraction": options.valid_fraction, "test_fraction": options.test_fraction}
    if options.split == "random":
        return split_at_random(users, items, **shares, seed=options.seed)
    if options.split == "global-time":
        return split_by_time_of_all(users, items, times, **shares)
    seed = options.seed if options.ties == "random" else None
    if options.split == "leave-one-out":
        return leave_one_out(users, items, times, seed=seed)
    return split_by_time(users, items, times, **shares, seed=seed)


def _seconds(log: InteractionLog, pairs: Interactions) -> NDArray[np.int64]:
    """Return the times of pairs in seconds since 1970, negative before it."""
    keys = log.keys()
    order = np.argsort(keys)
    found = order[np.searchsorted(keys[order], pairs.keys(len(log.item_ids)))]
    seconds: NDArray[np.int64] = log.times[found] // 1000
    return seconds


def _training_reviews(
    table: InteractionTable, log: InteractionLog, train: Interactions, reading: Reading
) -> Iterator[str]:
    chosen = np.isin(log.keys(), train.keys(len(log.item_ids)))
    return reviews(table, log.rows[chosen], log.users[chosen], log.items[chosen], reading)
