"""One spelling for the ids of RecBole's tables, and a check that the tables are about the same things."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from spike_dgl.data.files import no_match
from spike_dgl.data.formats.tables import Table
from spike_dgl.data.values import corrected_ids, corrected_values
from spike_dgl.errors import DataError

RULES = {
    "user_id": ("user", corrected_ids),
    "item_id": ("item", corrected_ids),
    "entity_id": ("entity", corrected_values),
    "head_id": ("entity", corrected_values),
    "tail_id": ("entity", corrected_values),
    "relation_id": ("relation", corrected_values),
}
"""Kind of id by column, and the rule for it: entities and relations may be words that stand for a missing value."""

ROWS = {
    ".kg": "triples",
    ".link": "links",
    ".user": "rows of users",
    ".item": "rows of items",
    ".entity": "rows of entities",
}


def corrected_tables(tables: Mapping[str, Table]) -> tuple[dict[str, Table], Counter[str]]:
    """The tables with ids as they are meant, and how many rows were left out since an id is missing.

    All columns of one kind of id are judged together: 101.0 in one table may be 101 in another.

    Raises
    ------
    DataError
        If an id of an interaction is missing.
    """
    different: dict[str, set[str]] = {}
    for table in tables.values():
        for name in table.ids:
            different.setdefault(RULES[name][0], set()).update(table.columns[name])
    meant = {kind: rule(different[kind]) for kind, rule in RULES.values() if kind in different}
    result, left_out = dict[str, Table](), Counter[str]()
    for key, table in tables.items():
        changed = {
            name: [corrections.get(cell, cell) for cell in table.columns[name]]
            for name in table.ids
            if (corrections := meant[RULES[name][0]])
        }
        result[key] = table.with_cells(changed) if changed else table
        number = len(table) - len(result[key])
        if number and table.file.suffix not in ROWS:
            line = min(set(table.lines) - set(result[key].lines))
            raise DataError(table.file, "a user or item is missing", "Complete or remove the row.", line)
        if number:
            left_out[f"{ROWS[table.file.suffix]} with a missing id"] += number
    return result, left_out


def check_overlap(table: Table | None, column: str, known: Sequence[str], known_from: str) -> None:
    """Raise `DataError`, which shows an id of each side, if there is a table but it names nothing that is known."""
    if table is None:
        return
    cells = table.columns[column]
    if known and set(known).isdisjoint(cells):
        raise no_match(table.file, len(table), column, next(iter(cells), ""), known[0], known_from)
