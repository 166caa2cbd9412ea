"""Reading of tables about items, with columns of names, texts and relations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.data.prepare.knowledge import Fact, ItemKnowledge, attribute
from spike_dgl.data.prepare.layouts import Layout, layout_of
from spike_dgl.data.prepare.markup import printed_list, without_markup
from spike_dgl.data.prepare.matching import Matches
from spike_dgl.data.prepare.missing import present_texts
from spike_dgl.data.prepare.tables import Reading, read_records, split_list
from spike_dgl.data.values import is_missing


@dataclass(frozen=True, config=STRICT, kw_only=True)
class WrittenAs:
    """A table in CSV, TSV, JSON lines or Parquet; the first three may be compressed as .gz, .zst or .zip.

    Parameters
    ----------
    file
        File of the table, or folder of its part files.
    header
        Column names, for a file whose first line is not a header.
    delimiter
        Delimiter between cells, if it does not follow from the file extension.
    encoding
        Text encoding of the file.
    """

    file: str
    header: tuple[str, ...] | None = None
    delimiter: str | None = Field(default=None, min_length=1)
    encoding: str = "utf-8"

    @property
    def layout(self) -> Layout:
        """Layout of the file. Raises `DataError` if neither the file extension nor `delimiter` determines it."""
        layout = Layout("csv") if self.delimiter else layout_of(Path(self.file))
        given = {"header": self.header, "encoding": self.encoding, "delimiter": self.delimiter}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return replace(layout, **changes)


@dataclass(frozen=True, config=STRICT, kw_only=True)
class ItemTableOptions(WrittenAs):
    """A table about items; an item may have several rows.

    Parameters
    ----------
    item
        Column of item ids.
    name
        Column of readable names.
    text
        Columns of texts that describe an item.
    relations
        Relation by column: each value becomes an entity that the item has this relation to.
    kinds
        Kind of entity by column, by default the name of the relation. With ``{actors: person, director: person}`` an
        actor and a director of the same name are one entity.
    separator
        Separator of several values in a cell of a relation's column; not needed for lists in JSON and Parquet.
    """

    item: str
    name: str | None = None
    text: tuple[str, ...] = ()
    relations: Mapping[str, str] = Field(default_factory=dict)
    kinds: Mapping[str, str] = Field(default_factory=dict)
    separator: str = "|"

    @model_validator(mode="after")
    def _kinds_are_of_relations(self) -> ItemTableOptions:
        for column in self.kinds:
            if column not in self.relations:
                raise ValueError(f"the column '{column}' has an entry in kinds but none in relations")
        return self

    @property
    def columns(self) -> list[str]:
        """Names of all columns to read."""
        return [self.item, *([self.name] if self.name else []), *self.text, *self.relations]


def read_item_tables(
    tables: Sequence[ItemTableOptions], items: Mapping[str, str], reading: Reading
) -> ItemKnowledge:
    """Read names, texts and facts about items from tables.

    Parameters
    ----------
    tables
        Tables to read. The first name of an item is used; texts are joined.
    items
        Entity id by raw id; rows of other items are ignored.
    reading
        Counter of broken rows and missing values.

    Raises
    ------
    DataError
        If a table cannot be read, or has none of the items.
    """
    names, texts, facts = dict[str, str](), dict[str, list[str]](), list[Fact]()
    counts: dict[str, int] = {}
    for table in tables:
        file = Path(table.file)
        matches = Matches(file, table.item, items)
        for row in read_records(file, table.columns, reading, table.layout):
            entity = matches.find(row.cells.get(table.item))
            if entity is None:
                continue
            if table.name and is_missing(names.get(entity)):
                names[entity] = unescape(" ".join(_values(row.cells.get(table.name))))
            sentences = _sentences(row.cells, table.text)
            texts.setdefault(entity, []).extend(present_texts(sentences, "texts", reading))
            facts.extend(_facts(entity, row.cells, table))
        matches.check()
        counts[file.name] = matches.found
    joined = {entity: " ".join(parts) for entity, parts in texts.items()}
    relations = [_one_word(relation) for table in tables for relation in table.relations.values()]
    return ItemKnowledge(names, facts, relations, joined, {"item_rows_used": counts} if tables else {})


def _facts(entity: str, cells: Mapping[str, Any], table: ItemTableOptions) -> Iterator[Fact]:
    for column, relation in table.relations.items():
        kind = table.kinds.get(column, relation)
        for value in _values(cells.get(column), table.separator):
            yield attribute(entity, _one_word(relation), _one_word(kind), unescape(value))


def _sentences(cells: Mapping[str, Any], columns: Sequence[str]) -> Iterator[str]:
    for column in columns:
        for value in _values(cells.get(column)):
            yield " ".join(without_markup(value).split())


def _values(cell: object, separator: str = "") -> list[str]:
    """Return the non-empty values of a cell: a text split at separators, or the entries of a list or object."""
    if cell is None:
        return []
    if isinstance(cell, list):
        return [value for entry in cell for value in _values(entry, separator)]
    if isinstance(cell, dict):
        return [value for entry in cell.values() for value in _values(entry, separator)]
    text = str(cell).strip()
    listed = printed_list(text)
    if listed is not None:
        return _values(listed, separator)
    return split_list(text, separator) if separator else [" ".join(text.split())] if text else []


def _one_word(name: str) -> str:
    return "_".join(name.split())
