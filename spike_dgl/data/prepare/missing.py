"""Removal of missing values, in their many spellings, from names, facts and texts of all sources."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping

from spike_dgl.data.prepare.knowledge import Fact, attribute
from spike_dgl.data.prepare.tables import Reading
from spike_dgl.data.values import corrected_values, is_missing


def present_names(names: Mapping[str, str], reading: Reading) -> dict[str, str]:
    """Return the names without missing values, which are counted; whole numbers lose their decimal point."""
    corrections = corrected_values(set(names.values()))
    meant = {key: corrections.get(name, name) for key, name in names.items()}
    for key, name in names.items():
        if not meant[key]:
            reading.note_missing("names", name)
    return {key: name for key, name in meant.items() if name}


def present_facts(facts: Iterable[Fact], items: Container[str], reading: Reading) -> Iterator[Fact]:
    """Yield the facts without missing values, which are counted; facts about two `items` (entity ids) stay unchanged.

    The names of one relation and kind of entity are treated as one column.
    """
    facts = list(facts)
    columns: dict[tuple[str, str], set[str]] = {}
    for fact in facts:
        columns.setdefault((fact.relation, fact.kind), set()).add(fact.name)
    corrections = {column: corrected_values(names) for column, names in columns.items()}
    for fact in facts:
        meant = corrections[fact.relation, fact.kind].get(fact.name, fact.name)
        if meant == fact.name or fact.tail in items:
            yield fact
        elif meant:
            yield attribute(fact.head, fact.relation, fact.kind, meant)
        else:
            reading.note_missing(fact.relation, fact.name)


def present_texts(texts: Iterable[str], where: str, reading: Reading) -> Iterator[str]:
    """Yield the texts without missing values, which are counted."""
    for text in texts:
        if is_missing(text):
            reading.note_missing(where, text)
        else:
            yield text
