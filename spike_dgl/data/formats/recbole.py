"""RecBole's atomic files: tab-separated tables ``NAME.kind`` whose header gives each column a type.

Needed

- ``NAME.inter`` (`user_id`, `item_id`, optionally `timestamp`), or, already split, ``NAME.train.inter`` and
  ``NAME.test.inter``, optionally with ``NAME.valid.inter``. A single file is split per user: the latest tenth of the
  pairs is the test split, the tenth before it the validation split (set by `valid_fraction`). Without `timestamp` the
  split is random. Every row is an interaction, regardless of its `rating`: to keep high ratings only, remove the
  others from the file.
- ``NAME.kg`` (`head_id`, `relation_id`, `tail_id`) and ``NAME.link`` (`item_id`, `entity_id`).

Optional

- ``NAME.item`` (`item_id`, ...) and ``NAME.user`` (`user_id`, ...): the column `title` or `name` has readable names,
  `profile` has profiles, and all other columns become descriptions ("Genre: Drama.").
- ``NAME.entity`` (`entity_id`, `name`): readable names of entities; further columns are ignored.

The items are all those in any of these files. In the graph, an item replaces the entity that it is linked to. An item
has no triples if it has no link or its entity has no triples. If two items are linked to one entity, the first link is
used; if one item is linked to two entities, the first link is used. Other links are dropped and counted in
`Dataset.dropped`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spike_dgl.data.dataset import NodeTexts, Vocabulary
from spike_dgl.data.formats.node_tables import NodeTable, read_node_table
from spike_dgl.data.formats.recbole_ids import check_overlap, corrected_tables
from spike_dgl.data.formats.tables import HEADER, Table, read_table
from spike_dgl.data.names import readable_entity, readable_relations
from spike_dgl.data.raw import MISSING_TEXTS, RawDataset, RawRows, Unsplit
from spike_dgl.errors import DataError

NAME = "recbole"
NEEDS = "NAME.inter (or NAME.train.inter and NAME.test.inter), NAME.kg and NAME.link (RecBole's atomic files)"

PARTS = ("train", "valid", "test")
WHOLE = "whole"


def recognises(folder: Path) -> bool:
    """Return whether a folder has a file of interactions."""
    return any(folder.glob("*.inter"))


def read(folder: Path) -> RawDataset:
    """Read a folder of this format; see the module's docstring."""
    files = _read_files(folder)
    users = _different([files.users.ids, *files.interaction_column("user_id")])
    items = _different(
        [files.items.ids, *files.interaction_column("item_id"), files.links.columns["item_id"]]
    )
    links, doubtful = _links(files.links)
    entities = _entity_ids(items, links, files.triples)
    relations = _different([files.triples.columns["relation_id"]])
    user_rows, item_rows, entity_rows = _rows(users), _rows(items), _rows(entities)
    entity_names = {raw: readable_entity(name) for raw, name in files.entities.names().items()}
    titles = files.items.names()
    linked_names = {item: entity_names[entity] for item, entity in links.items() if entity in entity_names}
    return RawDataset(
        users=Vocabulary("user", users, _names(users, files.users.names())),
        items=Vocabulary("item", items, _names(items, linked_names | titles)),
        entities=Vocabulary("entity", entities, _names(entities, entity_names)),
        relations=Vocabulary("relation", relations, readable_relations(relations)),
        pairs=_pairs(files.interactions, user_rows, item_rows),
        triples=_triples(files.triples, entity_rows, _rows(relations)),
        profiles=NodeTexts(
            users=_by_row(files.users.profiles(), user_rows),
            entities=_by_row(files.items.profiles(), item_rows),
        ),
        descriptions=NodeTexts(
            users=_by_row(files.users.descriptions(), user_rows),
            entities=_by_row(files.items.descriptions(), item_rows),
        ),
        times=_times(files.interactions),
        linked_names={item_rows[item]: name for item, name in linked_names.items() if item in titles},
        dropped=files.left_out | doubtful,
    )


@dataclass(frozen=True)
class _Files:
    """Tables of a folder; `interactions` has a table per split, or `WHOLE` only."""

    interactions: Mapping[str, Table]
    triples: Table
    links: Table
    users: NodeTable
    items: NodeTable
    entities: NodeTable
    left_out: Counter[str]

    def interaction_column(self, name: str) -> list[Sequence[str]]:
        """Return a column of every table of interactions, train first."""
        return [table.columns[name] for table in self.interactions.values()]


def _read_files(folder: Path) -> _Files:
    name, parts = _find_interactions(folder)
    read = {part: read_table(file, ("user_id", "item_id")) for part, file in parts.items()}
    read["kg"] = read_table(folder / f"{name}.kg", ("head_id", "relation_id", "tail_id"))
    read["link"] = read_table(folder / f"{name}.link", ("item_id", "entity_id"))
    for kind in ("user", "item", "entity"):
        table = read_node_table(folder / f"{name}.{kind}", f"{kind}_id")
        if table is not None:
            read[kind] = table
    tables, left_out = corrected_tables(read)
    nodes = {kind: NodeTable.from_table(tables.get(kind)) for kind in ("user", "item", "entity")}
    if "entity" in tables and nodes["entity"].name_column is None:
        raise DataError(tables["entity"].file, "expected a column name:token_seq", HEADER, 1)
    if number := sum(table.num_missing for table in nodes.values()):
        left_out[MISSING_TEXTS] = number
    files = _Files(
        interactions={part: tables[part] for part in parts},
        triples=tables["kg"],
        links=tables["link"],
        users=nodes["user"],
        items=nodes["item"],
        entities=nodes["entity"],
        left_out=left_out,
    )
    _check_overlaps(files, tables)
    return files


def _check_overlaps(files: _Files, tables: Mapping[str, Table]) -> None:
    """Raise `DataError` if a table has no user, item or entity in common with the other tables."""
    items = files.interaction_column("item_id")
    in_graph = [files.triples.columns["head_id"], files.triples.columns["tail_id"]]
    for table, column, known, known_from in (
        (tables.get("user"), "user_id", files.interaction_column("user_id"), "the interactions"),
        (tables.get("item"), "item_id", items, "the interactions"),
        (files.links, "item_id", [*items, files.items.ids], "the interactions"),
        (files.links, "entity_id", in_graph, "the triples"),
        (tables.get("entity"), "entity_id", [*in_graph, files.links.columns["entity_id"]], "the triples"),
    ):
        check_overlap(table, column, chain.from_iterable(known), known_from)


def _find_interactions(folder: Path) -> tuple[str, dict[str, Path]]:
    """Return the data set's name in the folder, and its files of interactions by split, train first."""
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.glob("*.inter")):
        stem, _, part = file.stem.rpartition(".")
        name, part = (stem, part) if part in PARTS and stem else (file.stem, WHOLE)
        found.setdefault(name, {})[part] = file
    if len(found) != 1:
        shown = ", ".join(found) or "no file NAME.inter"
        raise DataError(
            folder, f"expected one data set, found {shown}", "Put each data set into its own folder."
        )
    [(name, parts)] = found.items()
    if WHOLE in parts and len(parts) > 1:
        problem = f"has both {name}.inter and files of its splits"
        raise DataError(folder, problem, f"Remove {name}.inter, or the split files.")
    for part in () if WHOLE in parts else ("train", "test"):
        if part not in parts:
            problem = "no such file, although another split has one"
            raise DataError(folder / f"{name}.{part}.inter", problem, "Provide both train and test.")
    return name, {part: parts[part] for part in (*PARTS, WHOLE) if part in parts}


def _links(table: Table) -> tuple[dict[str, str], Counter[str]]:
    """Return a one-to-one map from items to entities, and the number of dropped links by reason."""
    links: dict[str, str] = {}
    taken: set[str] = set()
    left_out: Counter[str] = Counter()
    for item, entity in zip(table.columns["item_id"], table.columns["entity_id"], strict=True):
        if links.get(item) == entity:
            left_out["duplicate links"] += 1
        elif item in links:
            left_out["further links of an item that has one"] += 1
        elif entity in taken:
            left_out["links to an entity that another item has"] += 1
        else:
            links[item] = entity
            taken.add(entity)
    return links, left_out


def _entity_ids(items: Sequence[str], links: Mapping[str, str], triples: Table) -> tuple[str, ...]:
    """Return entity ids in row order: first those of the items, then all others in the knowledge graph."""
    in_graph = _different([triples.columns["head_id"], triples.columns["tail_id"]])
    taken = {*in_graph, *links.values()}
    of_items = [links[item] if item in links else _unused(f"item:{item}", taken) for item in items]
    return _different([of_items, in_graph])


def _unused(raw_id: str, taken: set[str]) -> str:
    """Return an id that is not in `taken`, by prepending "item:" as often as needed; adds it to `taken`."""
    while raw_id in taken:
        raw_id = f"item:{raw_id}"
    taken.add(raw_id)
    return raw_id


def _pairs(
    tables: Mapping[str, Table], user_rows: Mapping[str, int], item_rows: Mapping[str, int]
) -> dict[str, RawRows] | Unsplit:
    columns = {"user_id": user_rows, "item_id": item_rows}
    rows = {part: _indexed(table, columns) for part, table in tables.items()}
    if WHOLE not in rows:
        return rows
    table = tables[WHOLE]
    return Unsplit(rows[WHOLE], table.numbers("timestamp") if "timestamp" in table.types else None)


def _times(tables: Mapping[str, Table]) -> dict[str, NDArray[np.float64]]:
    """Return the times of each split's rows, if all splits have them."""
    if not all("timestamp" in table.types for table in tables.values()):
        return {}
    return {part: table.numbers("timestamp") for part, table in tables.items()}


def _triples(table: Table, entity_rows: Mapping[str, int], relation_rows: Mapping[str, int]) -> RawRows:
    columns = {"head_id": entity_rows, "relation_id": relation_rows, "tail_id": entity_rows}
    return _indexed(table, columns)


def _indexed(table: Table, columns: Mapping[str, Mapping[str, int]]) -> RawRows:
    """Convert columns of raw ids to columns of row indices."""
    count = len(table)
    indices = [
        np.fromiter(map(rows.__getitem__, table.columns[name]), dtype=np.int64, count=count)
        for name, rows in columns.items()
    ]
    return RawRows(table.file, np.stack(indices, axis=1), np.asarray(table.lines))


def _names(raw_ids: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(names.get(raw, raw) for raw in raw_ids)


def _by_row(texts: Mapping[str, str], rows: Mapping[str, int]) -> dict[int, str]:
    return {rows[raw]: text for raw, text in texts.items()}


def _rows(raw_ids: Sequence[str]) -> dict[str, int]:
    return {raw: row for row, raw in enumerate(raw_ids)}


def _different(columns: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Return the distinct values of several columns, in order of first occurrence."""
    return tuple(dict.fromkeys(chain.from_iterable(columns)))
