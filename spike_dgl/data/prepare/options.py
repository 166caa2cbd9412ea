"""Options of `prepare` that all sources share."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Literal, TypeAlias

from pydantic import Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.data.prepare.item_tables import ItemTableOptions

FILES = ("triples", "links", "entity_names")
"""Names of the options that are a file."""

Split: TypeAlias = Literal["time", "random", "global-time", "leave-one-out"]


@dataclass(frozen=True, config=STRICT)
class PrepareOptions:
    """Options for turning raw interactions and facts into a data set.

    Parameters
    ----------
    min_rating
        Minimum rating of an interaction; lower ratings are dropped. None keeps all.
    from_date
        First day (YYYY-MM-DD, UTC) of the interactions to keep; None for no bound.
    to_date
        Last day (YYYY-MM-DD, UTC) of the interactions to keep; None for no bound.
    k_core
        Minimum number of interactions of every user and every item.
    split
        Interactions to hold out for validation and test: the latest of each user ("time"), random ones of each user
        ("random"), the latest of all users together ("global-time"; the test split can have users and items that are
        not in training), or each user's last for test and the one before for validation ("leave-one-out").
    valid_fraction, test_fraction
        Share of each user's interactions to hold out; with "global-time", share of all interactions. Not used by
        "leave-one-out".
    seed
        Random seed of the split and of the order of a user's interactions at the same time.
    ties
        Order of a user's interactions at the same time in a split by time: "random", or by "item". Ordering by item
        holds out the items with the highest numbers; use it only to reproduce the bundled data.
    items
        Tables about items, in addition to those of the source.
    triples
        File of further facts: tab-separated lines "head relation tail", or N-Triples. Its entities are linked to items
        by `links`.
    links
        File of tab-separated lines "item entity", which link items to entities of `triples`.
    entity_names
        File of tab-separated lines "entity name".
    hops
        Maximum distance of a fact of `triples` from an item: 1 keeps facts about items, 2 also facts about their
        entities.
    min_entity_items
        Minimum number of different entities that an auxiliary entity is linked to; others are dropped. An entity linked
        to one item only cannot pass messages to other items.
    min_relation_triples
        Minimum number of triples of a relation; others are dropped.
    inverse_relations
        Also write each triple reversed, for programs that do not add inverses themselves. This one adds them.
    broken_rows
        Maximum number of unreadable rows to skip; one more is an error.
    """

    min_rating: float | None = None
    from_date: str | None = None
    to_date: str | None = None
    k_core: int = Field(default=5, ge=1)
    split: Split = "time"
    valid_fraction: float = Field(default=0.1, ge=0.0, lt=1.0)
    test_fraction: float = Field(default=0.2, ge=0.0, lt=1.0)
    seed: int = Field(default=2020, ge=0, le=2**63 - 1)
    ties: Literal["random", "item"] = "random"
    items: tuple[ItemTableOptions, ...] = ()
    triples: str | None = None
    links: str | None = None
    entity_names: str | None = None
    hops: int = Field(default=2, ge=1)
    min_entity_items: int = Field(default=2, ge=1)
    min_relation_triples: int = Field(default=1, ge=1)
    inverse_relations: bool = False
    broken_rows: int = Field(default=0, ge=0)

    @field_validator("from_date", "to_date")
    @classmethod
    def _is_a_day(cls, day: str | None) -> str | None:
        if day is not None:
            milliseconds(day)
        return day

    @model_validator(mode="after")
    def _fits_together(self) -> PrepareOptions:
        if self.valid_fraction + self.test_fraction >= 1:
            raise ValueError("valid_fraction and test_fraction must sum to less than 1")
        if (self.triples is None) != (self.links is None):
            raise ValueError("triples and links need each other: links map items to entities of the triples")
        return self


def milliseconds(day: str) -> int:
    """Return the start of a day such as 2018-07-07 (UTC) in milliseconds since 1970."""
    try:
        return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=timezone.utc).timestamp()) * 1000
    except ValueError:
        raise ValueError("expected a day such as 2018-07-07") from None
