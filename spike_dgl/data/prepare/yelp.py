"""Preparation of the Yelp Open Dataset, with a knowledge graph of categories, cities and features of businesses.

Reads ``yelp_academic_dataset_business.json``, ``yelp_academic_dataset_review.json`` and, if it exists,
``yelp_academic_dataset_user.json`` (https://www.yelp.com/dataset), compressed or not. Of the attributes of users, only
the year in which they joined is used: averages and counts are over all their reviews, including held-out ones.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spike_dgl.data.prepare.collect import InteractionTable
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.knowledge import Fact, ItemKnowledge, attribute
from spike_dgl.data.prepare.layouts import Layout
from spike_dgl.data.prepare.matching import Matches
from spike_dgl.data.prepare.options import PrepareOptions
from spike_dgl.data.prepare.pipeline import Source
from spike_dgl.data.prepare.streams import find_file, needed_file
from spike_dgl.data.prepare.tables import Reading, read_records, split_list
from spike_dgl.data.values import is_missing

RELATIONS = ("has_category", "in_city", "in_state", "has_feature")
BUSINESSES, REVIEWS, USERS = (f"yelp_academic_dataset_{what}.json" for what in ("business", "review", "user"))
ORIGIN = "the Yelp Open Dataset"
ABSENT = ("none", "false", "no")


def yelp(source: Path, options: PrepareOptions) -> Source:
    """Return the `Source` of Yelp's files, given their folder or zip archive.

    Raises
    ------
    DataError
        If a file is missing.
    """
    businesses, reviews = (needed_file(source, name, ORIGIN) for name in (BUSINESSES, REVIEWS))
    users = find_file(source, USERS)
    return Source(
        name="yelp",
        made_by="prepare yelp",
        interactions=InteractionTable(
            reviews,
            user=Column("user_id", "id"),
            item=Column("business_id", "id"),
            rating=Column("stars", "number"),
            time=Column("date", "date"),
            review=Column("text", "text"),
            layout=Layout("jsonl"),
            rows_are="reviews",
        ),
        item_kind="business",
        describe=lambda items, reading: _describe(items, businesses, reading),
        files=[reviews, businesses, *([users] if users else [])],
        options=options,
        describe_users=lambda ids, reading: _describe_users(ids, users, reading) if users else {},
    )


def _describe(items: Mapping[str, str], businesses: Path, reading: Reading) -> ItemKnowledge:
    names, facts = dict[str, str](), list[Fact]()
    matches = Matches(businesses, "business_id", items)
    for row in read_records(businesses, (), reading, Layout("jsonl")):
        entity = matches.find(row.cells.get("business_id"))
        if entity is not None:
            names[entity] = _text(row.cells.get("name"))
            facts.extend(_facts(entity, row.cells))
    matches.check()
    return ItemKnowledge(names, facts, RELATIONS, counts={"businesses": {"items_described": len(names)}})


def _describe_users(ids: Sequence[str], users: Path, reading: Reading) -> dict[str, str]:
    matches, texts = Matches(users, "user_id", dict(zip(ids, ids, strict=True))), {}
    for row in read_records(users, (), reading, Layout("jsonl")):
        user, joined = matches.find(row.cells.get("user_id")), str(row.cells.get("yelping_since") or "")[:4]
        if user is not None and joined.isascii() and joined.isdigit():
            texts[user] = f"On Yelp since {joined}."
    matches.check()
    return texts


def _facts(item: str, business: Mapping[str, Any]) -> Iterator[Fact]:
    for category in split_list(_text(business.get("categories")), ","):
        yield attribute(item, "has_category", "category", category)
    city, state = (_text(business.get(key)) for key in ("city", "state"))
    if city:
        yield attribute(item, "in_city", "city", f"{city}, {state}" if state else city)
    if state:
        yield attribute(item, "in_state", "state", state)
    for feature in _features(business.get("attributes")):
        yield attribute(item, "has_feature", "feature", feature)


def _features(attributes: object, prefix: str = "") -> Iterator[str]:
    """Yield "Ambience romantic", "WiFi free" for ``{"Ambience": "{'romantic': True}", "WiFi": "u'free'"}``."""
    for key, value in attributes.items() if isinstance(attributes, dict) else ():
        plain = _literal(value)
        if isinstance(plain, dict):
            yield from _features(plain, f"{prefix}{key} ")
        elif str(plain).strip().lower() == "true":
            yield f"{prefix}{key}"
        elif not is_missing(plain) and str(plain).strip().lower() not in ABSENT:
            yield f"{prefix}{key} {plain}"


def _text(value: object) -> str:
    return "" if is_missing(value) else " ".join(str(value).split())


def _literal(value: object) -> object:
    """Parse a Python literal in a JSON text, as Yelp writes attributes; other values are returned unchanged."""
    try:
        return ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
