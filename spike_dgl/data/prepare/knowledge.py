"""Facts about items -> entities and triples of a knowledge graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spike_dgl.data.dataset import Triples


class Fact(NamedTuple):
    """One statement about an item, such as ("movie:1", "directed_by", "person", "John Lasseter")."""

    item: str
    relation: str
    kind: str
    name: str

    @property
    def entity(self) -> str:
        """Raw id of the auxiliary entity, without spaces: ``person:John_Lasseter``.

        The kind stands first, so that a person and a genre of the same name stay two entities, while the
        actor and the director Clint Eastwood are one: films are linked across the roles of a person.
        Different people of the same name become one as well; the sources give nothing to tell them apart.
        """
        return f"{self.kind}:{'_'.join(self.name.split())}"


@dataclass(frozen=True)
class KnowledgeGraph:
    """Entities (items first), relations, and the triples between them.

    Parameters
    ----------
    entity_ids, entity_names
        Raw ids, without spaces and all different, and readable names [N].
    relation_ids
        Raw ids [R], without spaces.
    triples
        From an item (head) to an auxiliary entity (tail).
    """

    entity_ids: tuple[str, ...]
    entity_names: tuple[str, ...]
    relation_ids: tuple[str, ...]
    triples: Triples

    def counts(self) -> dict[str, int]:
        """Numbers of entities, items included, and triples."""
        return {"entities": len(self.entity_ids), "triples": len(self.triples)}


def link(
    facts: Iterable[Fact], items: Mapping[str, str], relations: Sequence[str], min_items: int
) -> KnowledgeGraph:
    """Build the graph of some items from facts.

    Parameters
    ----------
    facts
        Statements; those about other items are left out.
    items
        Entity id -> readable name, in row order.
    relations
        Relation ids in row order.
    min_items
        Auxiliary entities linked to fewer different items are dropped. Two is the least that lets a message
        pass from one item to another.
    """
    item_rows = {item: row for row, item in enumerate(items)}
    relation_rows = {relation: row for row, relation in enumerate(relations)}
    facts = [fact for fact in facts if fact.item in item_rows]
    names = {fact.entity: fact.name for fact in facts}
    auxiliary = sorted(names)
    auxiliary_rows = {entity: row for row, entity in enumerate(auxiliary)}
    rows = np.array(
        [(item_rows[f.item], relation_rows[f.relation], auxiliary_rows[f.entity]) for f in facts], np.int64
    ).reshape(-1, 3)
    tails = np.unique(rows[:, [0, 2]], axis=0)[:, 1]
    linked = np.bincount(tails, minlength=len(auxiliary)) >= min_items
    rows = rows[linked[rows[:, 2]]]
    rows[:, 2] = len(items) + (np.cumsum(linked) - 1)[rows[:, 2]]
    kept = [entity for entity, keep in zip(auxiliary, linked, strict=True) if keep]
    return KnowledgeGraph(
        (*items, *kept),
        (*items.values(), *(names[e] for e in kept)),
        tuple(relations),
        Triples.from_rows(rows),
    )
