"""Conversion of facts about items and other entities to a knowledge graph."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from spike_dgl.data.dataset import Triples
from spike_dgl.typing import BoolArray, IndexArray


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact about an entity.

    Parameters
    ----------
    head, relation, tail
        Raw ids.
    name
        Readable name of the tail, or empty. The first name of an entity is used; its id if all names are empty.
    """

    head: str
    relation: str
    tail: str
    name: str

    @property
    def kind(self) -> str:
        """Kind of entity, the prefix of the tail's id in an `attribute`."""
        return self.tail.removesuffix(entity_id("", self.name))


def attribute(item: str, relation: str, kind: str, name: str) -> Fact:
    """Return a fact about an item, such as ("movie:1", "directed_by", "person", "John Lasseter").

    The tail's id is ``person:John_Lasseter``. With the kind as prefix, a person and a genre of the same name are two
    entities, while the actor and the director Clint Eastwood are one, which links films across a person's roles.
    Different people of the same name are merged too, since the sources do not distinguish them.
    """
    return Fact(item, relation, entity_id(kind, name), name)


def entity_id(kind: str, name: str) -> str:
    """Return the raw id of an entity, without spaces."""
    return f"{kind}:{'_'.join(name.split())}"


def item_entities(kind: str, item_ids: Iterable[str]) -> dict[str, str]:
    """Return distinct entity ids by the items' raw ids: for "a b" and "a_b", the second is ``item:a_b_``."""
    entities, taken = dict[str, str](), set[str]()
    for item in item_ids:
        entity = entity_id(kind, item)
        while entity in taken:
            entity += "_"
        entities[item] = entity
        taken.add(entity)
    return entities


@dataclass(frozen=True)
class ItemKnowledge:
    """Names, texts and facts about items, read from tables.

    Parameters
    ----------
    names, texts
        Readable names and descriptions, by entity id of the item; missing ones are absent.
    facts
        Facts about the items.
    relations
        Relation ids to number first.
    counts
        Counts of the tables' rows for ``dataset.json``.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    facts: Iterable[Fact] = ()
    relations: Sequence[str] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class KnowledgeGraph:
    """Entities (items first), relations, and the triples between them.

    Parameters
    ----------
    num_items
        I.
    entity_ids, entity_names
        Raw ids, without spaces and all different, and readable names [N].
    relation_ids
        Raw ids [R], without spaces.
    triples
        Triples between entity rows.
    """

    num_items: int
    entity_ids: tuple[str, ...]
    entity_names: tuple[str, ...]
    relation_ids: tuple[str, ...]
    triples: Triples

    def counts(self) -> dict[str, int]:
        """Return the numbers of entities (including items), relations and triples."""
        return {
            "entities": len(self.entity_ids),
            "relations": len(self.relation_ids),
            "triples": len(self.triples),
        }


def link(
    facts: Iterable[Fact],
    items: Mapping[str, str],
    relations: Sequence[str] = (),
    names: Mapping[str, str] = MappingProxyType({}),
) -> KnowledgeGraph:
    """Build the knowledge graph from facts.

    Parameters
    ----------
    facts
        Facts about items and other entities.
    items
        Readable name of each item by entity id, in row order.
    relations
        Relation ids to number first, in this order; all others follow alphabetically.
    names
        Readable names of other entities, by raw id.
    """
    coded = _Coded(items, names)
    for fact in facts:
        coded.add(fact)
    order = [relation for relation in relations if relation in coded.relations]
    order += sorted(coded.relations.keys() - set(order))
    return _renumbered(coded.rows(), coded, tuple(items.values()), order)


def without_rare(graph: KnowledgeGraph, min_items: int, min_triples: int = 1) -> KnowledgeGraph:
    """Remove rare auxiliary entities and relations, repeatedly until none is left.

    Parameters
    ----------
    graph
        Knowledge graph. All its items stay.
    min_items
        Minimum number of different entities that an auxiliary entity has triples with. With fewer than two, it cannot
        pass messages between items.
    min_triples
        Minimum number of triples of a relation.
    """
    triples = graph.triples
    while True:
        joined = _neighbour_counts(triples, len(graph.entity_ids)) >= min_items
        joined[: graph.num_items] = True
        common = np.bincount(triples.relations, minlength=len(graph.relation_ids)) >= min_triples
        kept = joined[triples.heads] & joined[triples.tails] & common[triples.relations]
        if kept.all():
            break
        triples = Triples(triples.heads[kept], triples.relations[kept], triples.tails[kept])
    return _compact(replace(graph, triples=triples))


def with_inverses(graph: KnowledgeGraph) -> KnowledgeGraph:
    """Add every triple reversed, with an inverse relation such as ``directed_by_inverse``."""
    triples, size = graph.triples, len(graph.relation_ids)
    forward = np.stack([triples.heads, triples.relations, triples.tails], axis=1)
    backward = np.stack([triples.tails, triples.relations + size, triples.heads], axis=1)
    relations = (*graph.relation_ids, *(f"{relation}_inverse" for relation in graph.relation_ids))
    both = Triples.from_rows(np.concatenate([forward, backward]))
    return replace(graph, relation_ids=relations, triples=both)


class _Coded:
    """Facts as row numbers: entities and relations in order of first occurrence, items first."""

    def __init__(self, items: Mapping[str, str], names: Mapping[str, str]) -> None:
        self.entities = {item: row for row, item in enumerate(items)}
        self.relations: dict[str, int] = {}
        self.names = dict(names)
        self._columns = array("q"), array("q"), array("q")

    def add(self, fact: Fact) -> None:
        heads, relations, tails = self._columns
        heads.append(self.entities.setdefault(fact.head, len(self.entities)))
        relations.append(self.relations.setdefault(fact.relation, len(self.relations)))
        tails.append(self.entities.setdefault(fact.tail, len(self.entities)))
        if fact.name:
            self.names.setdefault(fact.tail, fact.name)

    def rows(self) -> IndexArray:
        """Return rows (head, relation, tail) [T, 3]."""
        return np.stack([np.array(column, dtype=np.int64) for column in self._columns], axis=1)


def _renumbered(
    rows: IndexArray, coded: _Coded, item_names: tuple[str, ...], relations: Sequence[str]
) -> KnowledgeGraph:
    """Return the graph with auxiliary entities in alphabetical order, without those that have no triple."""
    ids, num_items = list(coded.entities), len(item_names)
    named = np.unique(rows[:, [0, 2]])
    auxiliary = sorted(ids[row] for row in named[named >= num_items].tolist())
    new_rows = np.arange(len(ids))
    new_rows[[coded.entities[entity] for entity in auxiliary]] = num_items + np.arange(len(auxiliary))
    new_relations = np.zeros(len(coded.relations), np.int64)
    new_relations[[coded.relations[relation] for relation in relations]] = np.arange(len(relations))
    triples = np.stack([new_rows[rows[:, 0]], new_relations[rows[:, 1]], new_rows[rows[:, 2]]], axis=1)
    names = (*item_names, *(coded.names.get(entity, entity) for entity in auxiliary))
    all_ids = (*ids[:num_items], *auxiliary)
    return KnowledgeGraph(num_items, all_ids, names, tuple(relations), Triples.from_rows(triples))


def _neighbour_counts(triples: Triples, num_entities: int) -> IndexArray:
    """Return the number of different neighbours of each entity [N]; self loops do not count."""
    ends = np.stack([triples.heads, triples.tails], axis=1)
    ends = ends[ends[:, 0] != ends[:, 1]]
    keys = np.unique(np.concatenate([ends, ends[:, ::-1]]) @ np.array([num_entities, 1]))
    return np.bincount(keys // max(num_entities, 1), minlength=num_entities)


def _compact(graph: KnowledgeGraph) -> KnowledgeGraph:
    """Remove auxiliary entities and relations without triples."""
    triples = graph.triples
    used = np.zeros(len(graph.entity_ids), dtype=bool)
    used[: graph.num_items] = used[triples.heads] = used[triples.tails] = True
    used_relations = np.bincount(triples.relations, minlength=len(graph.relation_ids)) > 0
    rows, relation_rows = np.cumsum(used) - 1, np.cumsum(used_relations) - 1
    columns = (rows[triples.heads], relation_rows[triples.relations], rows[triples.tails])
    return KnowledgeGraph(
        graph.num_items,
        _chosen(graph.entity_ids, used),
        _chosen(graph.entity_names, used),
        _chosen(graph.relation_ids, used_relations),
        Triples.from_rows(np.stack(columns, axis=1)),
    )


def _chosen(texts: Sequence[str], mask: BoolArray) -> tuple[str, ...]:
    return tuple(text for text, keep in zip(texts, mask.tolist(), strict=True) if keep)
