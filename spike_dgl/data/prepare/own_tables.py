"""Preparation of your own tables of interactions, items and optionally triples, as described in a YAML file."""

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
        Column of user ids.
    item
        Column of item ids.
    rating
        Column of ratings, if any.
    time
        Column of times; without it, `split` must be "random".
    review
        Column of users' review texts, from which profiles are written.
    time_unit
        Unit of the times: "seconds" or "milliseconds" since 1970, or "date" (ISO 8601).
    """

    user: str
    item: str
    rating: str | None = None
    time: str | None = None
    review: str | None = None
    time_unit: Literal["seconds", "milliseconds", "date"] = "seconds"


@dataclass(frozen=True, config=STRICT, kw_only=True)
class OwnTablesOptions(PrepareOptions):
    """`PrepareOptions`, and options for your own table of interactions.

    Parameters
    ----------
    interactions
        The table of interactions.
    name
        Name of the data set.
    """

    interactions: InteractionOptions
    name: str = Field(default="tables", pattern=r"^\w[\w.-]*$")


def own_tables(folder: Path, options: OwnTablesOptions) -> Source:
    """Return the `Source` of your own tables, whose paths are relative to `folder`."""
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
