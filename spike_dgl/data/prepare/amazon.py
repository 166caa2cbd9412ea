"""Preparation of Amazon product reviews, with a knowledge graph of brands, categories and people.

Reads the reviews and metadata that J. McAuley's group publishes, in the layouts of 2014 (metadata as Python literals),
2018 and 2023 (https://amazon-reviews-2023.github.io). The first line shows which layout it is.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.data.prepare.collect import InteractionTable
from spike_dgl.data.prepare.columns import Column
from spike_dgl.data.prepare.knowledge import Fact, ItemKnowledge, attribute, entity_id
from spike_dgl.data.prepare.layouts import Layout
from spike_dgl.data.prepare.markup import without_markup
from spike_dgl.data.prepare.matching import Matches
from spike_dgl.data.prepare.options import PrepareOptions
from spike_dgl.data.prepare.part_files import extension_of
from spike_dgl.data.prepare.pipeline import Source
from spike_dgl.data.prepare.raw_rows import Row
from spike_dgl.data.prepare.tables import Reading, read_records, split_list
from spike_dgl.data.values import is_missing
from spike_dgl.errors import DataError

RELATIONS = (
    "has_category",
    "has_brand",
    "created_by",
    "starring",
    "directed_by",
    "published_by",
    "in_language",
)
KIND = "product"
CO_PURCHASES = ("also_bought", "also_viewed", "bought_together")

DETAILS = {
    "Author": ("created_by", "person"),
    "Contributor": ("created_by", "person"),
    "Actors": ("starring", "person"),
    "Starring": ("starring", "person"),
    "Director": ("directed_by", "person"),
    "Directors": ("directed_by", "person"),
    "Publisher": ("published_by", "company"),
    "Studio": ("published_by", "company"),
    "Language": ("in_language", "language"),
    "Audio languages": ("in_language", "language"),
    "Genre": ("has_category", "category"),
}
"""Relation and kind of entity, by key of `details` in the metadata of 2023."""

LONGEST_NAME = 100
"""Names of this many characters or more are ignored: they are sentences in the wrong field."""

_IN_PARENTHESES = re.compile(r"\s*\([^()]*\)")
_PAGE_OF = re.compile(r"Visit Amazon's (.+) Page")
"""Pattern in place of some authors' names in 2018."""


@plain_dataclass(frozen=True)
class Edition:
    """Column names of the reviews in one layout."""

    user: str
    item: str
    rating: str
    time: Column
    review: str


EARLIER = Edition("reviewerID", "asin", "overall", Column("unixReviewTime", "seconds"), "reviewText")
"""Layout of 2014 and 2018."""
LATER = Edition("user_id", "parent_asin", "rating", Column("timestamp", "milliseconds"), "text")
"""Layout of 2023."""


@dataclass(frozen=True, config=STRICT)
class AmazonOptions(PrepareOptions):
    """`PrepareOptions`, and options for the metadata.

    Parameters
    ----------
    co_purchases
        Also use "bought together" and "viewed together" of 2014 and 2018. Amazon counted these over all customers and
        all time, including held-out interactions: this is a leak, so do not use it in comparisons.
    """

    co_purchases: bool = False


def amazon(reviews: Path, metadata: Path, options: AmazonOptions) -> Source:
    """Return the `Source` of one category of Amazon's products.

    Parameters
    ----------
    reviews, metadata
        JSON lines, optionally compressed, such as ``Books_5.json.gz`` and ``meta_Books.json.gz``; or Parquet.
    options
        Thresholds, split and graph.

    Raises
    ------
    DataError
        If the reviews have none of the known layouts.
    """
    edition = _edition(reviews)
    table = InteractionTable(
        reviews,
        user=Column(edition.user, "id"),
        item=Column(edition.item, "id"),
        rating=Column(edition.rating, "number"),
        time=edition.time,
        review=Column(edition.review, "text"),
        layout=_layout(reviews, Layout("jsonl")),
        rows_are="reviews",
    )
    return Source(
        name="amazon",
        made_by="prepare amazon",
        interactions=table,
        item_kind=KIND,
        describe=lambda items, reading: _describe(items, metadata, options, reading),
        files=[reviews, metadata],
        options=options,
    )


def _layout(file: Path, lines: Layout) -> Layout:
    return Layout("parquet") if extension_of(file) == ".parquet" else lines


def _edition(reviews: Path) -> Edition:
    first: Row = next(
        read_records(reviews, (), Reading(limit=100), _layout(reviews, Layout("jsonl"))), Row(1, {})
    )
    for edition in (EARLIER, LATER):
        if edition.user in first.cells and edition.item in first.cells:
            return edition
    problem = f"the first row has {', '.join(first.cells) or 'nothing'}"
    remedy = "Reviews must have reviewerID and asin (2014, 2018) or user_id and parent_asin (2023)."
    raise DataError(reviews, problem, remedy, first.line)


def _describe(
    items: Mapping[str, str], metadata: Path, options: AmazonOptions, reading: Reading
) -> ItemKnowledge:
    names, texts, facts = dict[str, str](), dict[str, str](), list[Fact]()
    matches = Matches(metadata, "asin", items)
    layout = _layout(metadata, Layout("jsonl", parse=parse_object))
    for row in read_records(metadata, (), reading, layout):
        product = row.cells
        entity = matches.find(product.get("parent_asin") or product.get("asin"))
        if entity is None or entity in names:  # a product can occur twice
            continue
        names[entity] = _one_line(product.get("title"))
        texts[entity] = _text(product.get("description")) or _text(
            product.get("feature") or product.get("features")
        )
        facts.extend(_facts(entity, product))
        if options.co_purchases:
            facts.extend(_co_purchases(entity, product))
    matches.check()
    counts = {"metadata": {"items_described": len(names)}}
    return ItemKnowledge(names, facts, (*RELATIONS, *CO_PURCHASES), texts, counts)


def _facts(item: str, product: Mapping[str, Any]) -> Iterator[Fact]:
    categories = product.get("categories") or product.get("category") or product.get("main_category")
    for category in _names(categories):
        yield attribute(item, "has_category", "category", category)
    for brand in _names(product.get("brand") or product.get("store")):
        yield attribute(item, "has_brand", "brand", brand)
    author = product.get("author")
    for name in _names(author.get("name") if isinstance(author, dict) else author):
        yield attribute(item, "created_by", "person", name)
    details = product.get("details")
    for key, value in details.items() if isinstance(details, dict) else ():
        if key in DETAILS:
            relation, kind = DETAILS[key]
            yield from (attribute(item, relation, kind, name) for name in _listed(value, kind))


def _listed(value: object, kind: str) -> list[str]:
    """Return names in a value of `details`: "Tom Hanks, Meg Ryan (Actor)", "Penguin; Reprint edition (May 3, 2005)"."""
    text = _IN_PARENTHESES.sub("", _one_line(value))
    return _names(text.partition(";")[0] if kind == "company" else split_list(text, ","))


def _co_purchases(item: str, product: Mapping[str, Any]) -> Iterator[Fact]:
    related = product.get("related")
    lists = dict(related) if isinstance(related, dict) else {}
    lists |= (
        {"also_bought": product.get("also_buy"), "also_viewed": product.get("also_view")} if not lists else {}
    )
    for relation in CO_PURCHASES:
        for other in lists.get(relation) or ():
            if isinstance(other, str) and other.strip():
                yield Fact(item, relation, entity_id(KIND, other), other.strip())


def parse_object(text: str) -> object:
    """Parse a line of JSON or, as in metadata of 2014, a Python literal. Raises `ValueError` if it is neither."""
    try:
        return json.loads(text)
    except ValueError as error:
        if "'" not in text:
            raise
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError):
            raise error from None


def _names(value: object) -> list[str]:
    """Return the distinct short texts in a value or in a list of any depth."""
    if isinstance(value, list | tuple):
        return list(dict.fromkeys(name for entry in value for name in _names(entry)))
    if not isinstance(value, str) or "<" in value:
        return []
    name = _PAGE_OF.sub(r"\1", _one_line(value).removeprefix("by "))
    return [name] if name and len(name) < LONGEST_NAME else []


def _text(value: object) -> str:
    """Return a text, or the joined texts of a list, without missing values."""
    if isinstance(value, list):
        return " ".join(filter(None, map(_text, value)))
    return "" if is_missing(value) else _one_line(value)


def _one_line(value: object) -> str:
    """Return a text, or the joined texts of a list, on one line and without markup."""
    if isinstance(value, list):
        return " ".join(filter(None, map(_one_line, value)))
    return " ".join(without_markup(value).split()) if isinstance(value, str) else ""
