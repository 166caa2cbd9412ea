"""Uniform spelling of ids across RecBole's tables, and a check that the tables have ids in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from spike_dgl.data.files import no_match, shorten
from spike_dgl.data.formats.tables import Table
from spike_dgl.data.values import NoIdError, corrected_ids, corrected_values, id_of
from spike_dgl.errors import DataError

KINDS = {
    "user_id": "user",
    "item_id": "item",
    "entity_id": "entity",
    "head_id": "entity",
    "tail_id": "entity",
    "relation_id": "relation",
}
"""Kind of id by column. Entities and relations may be words, so spellings of missing values apply to them."""

ROWS = {
    ".kg": "triples",
    ".link": "links",
    ".user": "rows of users",
    ".item": "rows of items",
    ".entity": "rows of entities",
}


def corrected_tables(tables: Mapping[str, Table]) -> tuple[dict[str, Table], Counter[str]]:
    """Correct the spelling of ids, and drop and count rows with a missing id.

    All columns with the same kind of id are corrected together: 101.0 in one table may be 101 in another.

    Raises
    ------
    DataError
        If an id of an interaction is missing, or a user or item has an invalid id.
    """
    corrections = {kind: _corrections(kind, tables.values()) for kind in dict.fromkeys(KINDS.values())}
    result, left_out = dict[str, Table](), Counter[str]()
    for key, table in tables.items():
        changed = {
            name: [meant.get(cell, cell) for cell in table.columns[name]]
            for name in table.ids
            if (meant := corrections[KINDS[name]])
        }
        result[key] = table.with_cells(changed) if changed else table
        number = len(table) - len(result[key])
        if number and table.file.suffix not in ROWS:
            line = min(set(table.lines) - set(result[key].lines))
            raise DataError(table.file, "a user or item is missing", "Complete or remove the row.", line)
        if number:
            left_out[f"{ROWS[table.file.suffix]} with a missing id"] += number
    return result, left_out


def _corrections(kind: str, tables: Iterable[Table]) -> dict[str, str]:
    """Return the corrected spelling of a kind's ids, for those that change."""
    columns = [(table, name) for table in tables for name in table.ids if KINDS[name] == kind]
    different = set[str]().union(*(table.columns[name] for table, name in columns))
    rule = corrected_values
    if kind in ("user", "item"):
        rule = corrected_ids
        for cell in different:
            _check_id(cell, columns)
    meant = rule({cell.strip() for cell in different})
    return {cell: word for cell in different if (word := meant.get(cell.strip(), cell.strip())) != cell}


def _check_id(cell: str, columns: Sequence[tuple[Table, str]]) -> None:
    try:
        id_of(cell)
    except ValueError as error:
        table, name = next((table, name) for table, name in columns if cell in table.columns[name])
        line = table.lines[table.columns[name].index(cell)]
        reason = f": {error}" if isinstance(error, NoIdError) else ""
        problem = f"{shorten(cell)} in column '{name}' is not an id{reason}"
        raise DataError(table.file, problem, "Write the id as text, or remove the row.", line) from None


def check_overlap(table: Table | None, column: str, known: Iterable[str], known_from: str) -> None:
    """Raise `DataError`, with an example id of each, if a table exists but has no id in common with `known`."""
    if table is None:
        return
    first, mine = "", set(table.columns[column])
    for raw in known:
        if raw in mine:
            return
        first = first or raw
    if first:
        raise no_match(
            table.file, len(table), column, next(iter(table.columns[column]), ""), first, known_from
        )
