"""Settings that all sources share."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Literal, TypeAlias

from pydantic import Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.data.prepare.item_tables import ItemTableOptions

FILES = ("triples", "links", "entity_names")
"""Options that name a file."""

Split: TypeAlias = Literal["time", "random", "global-time", "leave-one-out"]


@dataclass(frozen=True, config=STRICT)
class PrepareOptions:
    """How raw interactions and facts become a data set.

    Parameters
    ----------
    min_rating
        A rating of at least this is an interaction, lower ones are left out; None takes all.
    from_date
        First day (YYYY-MM-DD, UTC) whose interactions count; None for no bound.
    to_date
        The last such day.
    k_core
        Every user and every item has at least this many interactions.
    split
        What is held out for validation and test: the latest of each user's interactions ("time"), any of them
        ("random"), the latest of all ("global-time"; users and items may then be new in the test part), or each
        user's last for testing and the one before for validation ("leave-one-out").
    valid_fraction, test_fraction
        Share of each user's interactions, or with "global-time" of all; "leave-one-out" does not use it.
    seed
        Of the random split, and of the order of a user's interactions at the same time.
    ties
        How a split by time orders interactions of a user at the same time: at "random", or by "item". The latter holds
        out the items with the highest numbers; it is there to make the bundled data again, which was made so.
    items
        Tables of what is known about items, besides what the source itself tells.
    triples
        File of further facts, a line "head relation tail" between tabs or as N-Triples; its entities are linked to
        items by `links`.
    links
        File of lines "item entity" between tabs: which entity of `triples` an item is.
    entity_names
        File of lines "entity name" between tabs.
    hops
        How far from an item a fact of `triples` may be: 1 takes those about items, 2 also those about the entities
        that these name.
    min_entity_items
        Auxiliary entities that are linked to fewer different entities are left out: what belongs to one item only
        can carry no message to another.
    min_relation_triples
        Relations with fewer triples are left out.
    inverse_relations
        Also write each triple reversed, for programs that do not add inverses themselves. This one does.
    broken_rows
        As many unreadable rows may be skipped; at the next one, preparing ends with an error.
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
            raise ValueError("valid_fraction and test_fraction must be less than 1 together")
        if (self.triples is None) != (self.links is None):
            raise ValueError("triples and links belong together: which entity of the triples is which item?")
        return self


def milliseconds(day: str) -> int:
    """Milliseconds from 1970 to the beginning of a day such as 2018-07-07, UTC."""
    try:
        return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=timezone.utc).timestamp()) * 1000
    except ValueError:
        raise ValueError("expected a day such as 2018-07-07") from None
