"""Your own tables -> a data set: interactions, attributes of items, perhaps triples, as a YAML file describes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.data.prepare.collect import InteractionTable
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.knowledge import Fact, attribute, entity_id
from spike_dgl.data.prepare.layouts import Layout, layout_of
from spike_dgl.data.prepare.options import PrepareOptions
from spike_dgl.data.prepare.pipeline import ItemKnowledge, Source, recorded
from spike_dgl.data.prepare.tables import BrokenRows, read_records, split_list
from spike_dgl.errors import ConfigError

KIND = "item"
"""Begins the entity id of every item, so that an id and an attribute of the same text stay two entities."""


@dataclass(frozen=True, config=STRICT)
class InteractionOptions:
    """The table of interactions: CSV, TSV, JSON lines or Parquet, the first three also as .gz, .zst or .zip.

    Parameters
    ----------
    file
        Beside the YAML file, or an absolute path.
    user, item
        Columns of ids.
    rating, time, review
        Columns of ratings, moments and texts, where it has them.
    time_unit
        What moments are: "seconds" or "milliseconds" since 1970, or a "date" as in ISO 8601.
    header
        Names of the columns of a file whose first line does not name them.
    delimiter, encoding
        What stands between cells, where the file's ending does not say it, and what the text is written in.
    """

    file: str
    user: str
    item: str
    rating: str | None = None
    time: str | None = None
    review: str | None = None
    time_unit: Literal["seconds", "milliseconds", "date"] = "seconds"
    header: tuple[str, ...] | None = None
    delimiter: str | None = None
    encoding: str = "utf-8"


@dataclass(frozen=True, config=STRICT)
class ItemTableOptions:
    """A table of what is known about items; an item may have several rows.

    Parameters
    ----------
    file, header, delimiter, encoding
        As in `InteractionOptions`.
    item
        Column of ids.
    name
        Column of readable names.
    text
        Columns whose text describes an item.
    relations
        Relation by column: each value becomes an entity that the item has this relation to.
    kinds
        Sort of entity by column, where it is not the relation's name: with ``{actors: person, director: person}``
        an actor and a director of the same name are one.
    separator
        Between the values of one cell of such a column; lists in JSON and Parquet need none.
    """

    file: str
    item: str
    name: str | None = None
    text: tuple[str, ...] = ()
    relations: Mapping[str, str] = Field(default_factory=dict)
    kinds: Mapping[str, str] = Field(default_factory=dict)
    separator: str = "|"
    header: tuple[str, ...] | None = None
    delimiter: str | None = None
    encoding: str = "utf-8"

    @property
    def columns(self) -> list[str]:
        """All that are read."""
        return [self.item, *([self.name] if self.name else []), *self.text, *self.relations]


@dataclass(frozen=True, config=STRICT, kw_only=True)
class OwnTablesOptions(PrepareOptions):
    """What your tables hold, beside how they become a data set.

    Parameters
    ----------
    interactions
        Who interacted with what.
    items
        What is known about items.
    name
        Of the data set.
    """

    interactions: InteractionOptions
    items: tuple[ItemTableOptions, ...] = ()
    name: str = "tables"


def own_tables(folder: Path, options: OwnTablesOptions) -> tuple[Source, PrepareOptions]:
    """What `prepare` needs to make a data set of tables in a folder.

    Raises
    ------
    ConfigError
        If a column has a kind but no relation.
    """
    for table in options.items:
        if unknown := [column for column in table.kinds if column not in table.relations]:
            raise ConfigError(f"{table.file}: the column '{unknown[0]}' has a kind but no relation")
    files = ("triples", "links", "entity_names")
    paths: dict[str, Any] = {key: str(folder / name) for key in files if (name := getattr(options, key))}
    tables = [(folder / table.file, table) for table in options.items]
    source = Source(
        name=options.name,
        made_by="prepare tables",
        interactions=_interactions(folder, options.interactions),
        describe=lambda item_ids, broken: _describe(item_ids, tables, broken),
        files=[folder / options.interactions.file, *(file for file, _ in tables)],
        options=recorded(options),
        broken=BrokenRows(options.broken_rows),
    )
    return source, replace(options, **paths)


def _interactions(folder: Path, options: InteractionOptions) -> InteractionTable:
    file = folder / options.file
    rating, review, time = options.rating, options.review, options.time
    return InteractionTable(
        file,
        user=Column(options.user, "id"),
        item=Column(options.item, "id"),
        rating=Column(rating, "number") if rating else None,
        time=Column(time, options.time_unit) if time else None,
        review=Column(review, "text") if review else None,
        layout=_layout(file, options),
    )


def _layout(file: Path, options: InteractionOptions | ItemTableOptions) -> Layout:
    layout = Layout("csv") if options.delimiter else layout_of(file)
    changes: dict[str, Any] = {
        "header": options.header,
        "encoding": options.encoding,
        "delimiter": options.delimiter,
    }
    return replace(layout, **{name: value for name, value in changes.items() if value is not None})


def _describe(
    item_ids: Sequence[str], tables: Sequence[tuple[Path, ItemTableOptions]], broken: BrokenRows
) -> ItemKnowledge:
    entities = {item: entity_id(KIND, item) for item in item_ids}
    names, texts, facts = dict[str, str](), dict[str, list[str]](), list[Fact]()
    counts: dict[str, int] = {}
    for file, table in tables:
        counts[file.name] = 0
        for row in read_records(file, table.columns, broken, _layout(file, table)):
            entity = entities.get("".join(_values(row.cells.get(table.item))))
            if entity is None:
                continue
            counts[file.name] += 1
            if table.name and (name := " ".join(_values(row.cells.get(table.name)))):
                names.setdefault(entity, name)
            texts.setdefault(entity, []).extend(_sentences(row.cells, table.text))
            facts.extend(_facts(entity, row.cells, table))
    named = {entity: names.get(entity, item) for item, entity in entities.items()}
    joined = {entity: " ".join(parts) for entity, parts in texts.items()}
    relations = [relation for _, table in tables for relation in table.relations.values()]
    return ItemKnowledge(
        named, facts, list(dict.fromkeys(map(_one_word, relations))), joined, {"item_rows_used": counts}
    )


def _facts(entity: str, cells: Mapping[str, Any], table: ItemTableOptions) -> Iterator[Fact]:
    for column, relation in table.relations.items():
        kind = table.kinds.get(column, relation)
        for value in _values(cells.get(column), table.separator):
            yield attribute(entity, _one_word(relation), _one_word(kind), value)


def _sentences(cells: Mapping[str, Any], columns: Sequence[str]) -> Iterator[str]:
    for column in columns:
        yield from _values(cells.get(column))


def _values(cell: object, separator: str = "") -> list[str]:
    """The values of a cell: of a text between separators, of a list its entries; none empty."""
    if cell is None:
        return []
    if isinstance(cell, list):
        return [value for entry in cell for value in _values(entry, separator)]
    if isinstance(cell, dict):
        return [value for entry in cell.values() for value in _values(entry, separator)]
    text = str(cell)
    return split_list(text, separator) if separator else [" ".join(text.split())] if text.strip() else []


def _one_word(name: str) -> str:
    return "_".join(name.split())
