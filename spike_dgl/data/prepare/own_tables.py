"""Your own tables -> a data set: interactions, attributes of items, perhaps triples, as a YAML file describes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.data.prepare.collect import InteractionTable
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.item_tables import WrittenAs
from spike_dgl.data.prepare.knowledge import ItemKnowledge
from spike_dgl.data.prepare.options import FILES, PrepareOptions
from spike_dgl.data.prepare.pipeline import Source


@dataclass(frozen=True, config=STRICT, kw_only=True)
class InteractionOptions(WrittenAs):
    """The table of interactions.

    Parameters
    ----------
    user
        Column of users' ids.
    item
        Column of items' ids.
    rating
        Column of ratings, if it has one.
    time
        Column of moments; without one, `split` must be "random".
    review
        Column of texts that users wrote, raw material for profiles.
    time_unit
        What moments are: "seconds" or "milliseconds" since 1970, or a "date" as in ISO 8601.
    """

    user: str
    item: str
    rating: str | None = None
    time: str | None = None
    review: str | None = None
    time_unit: Literal["seconds", "milliseconds", "date"] = "seconds"


@dataclass(frozen=True, config=STRICT, kw_only=True)
class OwnTablesOptions(PrepareOptions):
    """What your tables hold, beside how they become a data set.

    Parameters
    ----------
    interactions
        Who interacted with what.
    name
        Of the data set.
    """

    interactions: InteractionOptions
    name: str = Field(default="tables", pattern=r"^\w[\w.-]*$")


def own_tables(folder: Path, options: OwnTablesOptions) -> Source:
    """What `prepare` needs to make a data set of tables; their paths start from a folder."""
    paths: dict[str, Any] = {key: str(folder / name) for key in FILES if (name := getattr(options, key))}
    paths["items"] = tuple(replace(table, file=str(folder / table.file)) for table in options.items)
    paths["interactions"] = replace(options.interactions, file=str(folder / options.interactions.file))
    options = replace(options, **paths)
    return Source(
        name=options.name,
        made_by="prepare tables",
        interactions=_interactions(options.interactions),
        item_kind="item",
        describe=lambda _items, _reading: ItemKnowledge(),
        files=[Path(options.interactions.file)],
        options=options,
    )


def _interactions(options: InteractionOptions) -> InteractionTable:
    rating, review, time = options.rating, options.review, options.time
    return InteractionTable(
        Path(options.file),
        user=Column(options.user, "id"),
        item=Column(options.item, "id"),
        rating=Column(rating, "number") if rating else None,
        time=Column(time, options.time_unit) if time else None,
        review=Column(review, "text") if review else None,
        layout=options.layout,
    )
