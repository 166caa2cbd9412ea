"""Yelp Open Dataset -> a data set with a knowledge graph of categories, cities and features of businesses.

Reads ``yelp_academic_dataset_business.json`` and ``yelp_academic_dataset_review.json`` (https://www.yelp.com/dataset),
perhaps packed. The file of users is not read: its averages and counts are taken over all reviews, held-out ones too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spike_dgl.data.prepare.collect import InteractionTable
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.knowledge import Fact, attribute, entity_id
from spike_dgl.data.prepare.layouts import Layout
from spike_dgl.data.prepare.options import PrepareOptions
from spike_dgl.data.prepare.pipeline import ItemKnowledge, Source, recorded
from spike_dgl.data.prepare.streams import PACKED
from spike_dgl.data.prepare.tables import BrokenRows, read_records, split_list
from spike_dgl.errors import DataError

RELATIONS = ("has_category", "in_city", "in_state", "has_feature")
PREFIX = "yelp_academic_dataset_"
ABSENT = ("", "none", "false", "no")


def yelp(source: Path, options: PrepareOptions) -> tuple[Source, PrepareOptions]:
    """What `prepare` needs to make a data set of a folder of Yelp's files.

    Raises
    ------
    DataError
        If one of the files is missing.
    """
    businesses, reviews = _find(source, "business"), _find(source, "review")
    table = InteractionTable(
        reviews,
        user=Column("user_id", "id"),
        item=Column("business_id", "id"),
        rating=Column("stars", "number"),
        time=Column("date", "date"),
        review=Column("text", "text"),
        layout=Layout("jsonl"),
        rows_are="reviews",
    )
    made = Source(
        name="yelp",
        made_by="prepare yelp",
        interactions=table,
        describe=lambda item_ids, broken: _describe(item_ids, businesses, broken),
        files=[reviews, businesses],
        options=recorded(options),
        broken=BrokenRows(options.broken_rows),
    )
    return made, options


def _find(source: Path, what: str) -> Path:
    names = [f"{PREFIX}{what}.json{packed}" for packed in ("", *PACKED)]
    for name in names:
        if (source / name).is_file():
            return source / name
    raise DataError(source / names[0], "is missing", "Name the folder of the unpacked Yelp Open Dataset.")


def _describe(item_ids: Sequence[str], businesses: Path, broken: BrokenRows) -> ItemKnowledge:
    items = {item: entity_id("business", item) for item in item_ids}
    names, facts = dict[str, str](), list[Fact]()
    for row in read_records(businesses, (), broken, Layout("jsonl")):
        entity = items.get(str(row.cells.get("business_id") or ""))
        if entity is not None:
            names[entity] = " ".join(str(row.cells.get("name") or "").split())
            facts.extend(_facts(entity, row.cells))
    named = {entity: names.get(entity) or item for item, entity in items.items()}
    return ItemKnowledge(named, facts, RELATIONS, counts={"businesses": {"items_described": len(names)}})


def _facts(item: str, business: Mapping[str, Any]) -> Iterator[Fact]:
    for category in split_list(str(business.get("categories") or ""), ","):
        yield attribute(item, "has_category", "category", category)
    city, state = (" ".join(str(business.get(key) or "").split()) for key in ("city", "state"))
    if city:
        yield attribute(item, "in_city", "city", f"{city}, {state}" if state else city)
    if state:
        yield attribute(item, "in_state", "state", state)
    for feature in _features(business.get("attributes")):
        yield attribute(item, "has_feature", "feature", feature)


def _features(attributes: object, prefix: str = "") -> Iterator[str]:
    """``{"Ambience": "{'romantic': True}", "WiFi": "u'free'"}`` -> "Ambience romantic", "WiFi free"."""
    for key, value in attributes.items() if isinstance(attributes, dict) else ():
        plain = _literal(value)
        if isinstance(plain, dict):
            yield from _features(plain, f"{prefix}{key} ")
        elif str(plain).strip().lower() == "true":
            yield f"{prefix}{key}"
        elif str(plain).strip().lower() not in ABSENT:
            yield f"{prefix}{key} {plain}"


def _literal(value: object) -> object:
    """Yelp writes attributes as Python literals inside JSON texts."""
    try:
        return ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
