"""Tables of a small shop for `prepare tables`, and the expected data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spike_dgl.config import build
from spike_dgl.data import Dataset, load_dataset
from spike_dgl.data.prepare import pipeline
from spike_dgl.data.prepare.own_tables import OwnTablesOptions, own_tables

# Three users bought four things each; thing 9 was bought once.
ORDERS = "customer\tthing\tstars\tday\topinion\n" + "".join(
    f"{user}\t{item}\t{stars}\t2020-01-0{day}\tReview of {item} by {user}.\n"
    for user, item, stars, day in [
        ("ann", "10", 5, 1),
        ("ann", "2", 4, 2),
        ("ann", "3", 3, 3),
        ("ann", "4", 5, 4),
        ("bob c", "10", 4, 4),
        ("bob c", "2", 5, 3),
        ("bob c", "3", 5, 2),
        ("bob c", "4", 1, 1),
        ("zoe", "2", 5, 5),
        ("zoe", "3", 5, 6),
        ("zoe", "4", 4, 7),
        ("zoe", "9", 4, 8),
        ("ann", "10", 4, 9),
    ]
)
THINGS = """{"id": 2, "title": "Teapot", "makers": ["Ann Potter", "Bo"], "use": "tea|gift", "about": "Holds tea."}
{"id": 3, "title": "Cup <b>", "makers": ["Ann Potter"], "use": "tea", "about": null}
{"id": "10", "title": "Vase", "makers": [], "use": "gift", "about": "Tall."}
{"id": 77, "title": "Unsold", "makers": ["Ann Potter", "Bo"], "use": "tea"}
"""
TRIPLES = (
    "m.2\tmade_of\tm.clay\nm.3\tmade_of\tm.clay\nm.clay\tfound_in\tm.earth\n"
    "m.sand\tfound_in\tm.earth\nm.x\tr\tm.y\n"
)
LINKS = "2\tm.2\n3\tm.3\n77\tm.77\n4\tm.3\n"
NAMES = "m.clay\tRed_clay\nm.earth\tEarth\n"

DESCRIPTION: dict[str, Any] = {
    "name": "shop",
    "interactions": {
        "file": "orders.tsv",
        "user": "customer",
        "item": "thing",
        "rating": "stars",
        "time": "day",
        "time_unit": "date",
        "review": "opinion",
    },
    "items": [
        {
            "file": "things.jsonl",
            "item": "id",
            "name": "title",
            "text": ["about"],
            "relations": {"makers": "made by", "use": "good for"},
            "kinds": {"makers": "person"},
        }
    ],
    "k_core": 2,
    "min_rating": 2,
    "valid_fraction": 0.25,
    "test_fraction": 0.25,
    "min_entity_items": 1,
}


def make(raw: Path, also: tuple[str, ...] = (), **changes: Any) -> tuple[Dataset, dict[str, Any]]:
    options = build(OwnTablesOptions, {**DESCRIPTION, **changes}, "tables")
    card = pipeline.prepare(own_tables(raw, options), raw.parent / "made", also=also, overwrite=True)
    return load_dataset(raw.parent / "made", valid_fraction=0), card


def raw_pairs(data: Dataset, part: str) -> set[tuple[str, str]]:
    pairs = getattr(data, part)
    return {(data.users.ids[u], data.items.ids[i]) for u, i in zip(pairs.users, pairs.items, strict=True)}


def raw_triples(data: Dataset) -> set[tuple[str, str, str]]:
    columns = vars(data.triples).values()
    return {
        (data.entities.ids[h], data.relations.ids[r], data.entities.ids[t])
        for h, r, t in zip(*columns, strict=True)
    }


FACTS = {
    ("item:2", "made_by", "person:Ann_Potter"),
    ("item:2", "made_by", "person:Bo"),
    ("item:2", "good_for", "good_for:tea"),
    ("item:2", "good_for", "good_for:gift"),
    ("item:3", "made_by", "person:Ann_Potter"),
    ("item:3", "good_for", "good_for:tea"),
    ("item:10", "good_for", "good_for:gift"),
}
