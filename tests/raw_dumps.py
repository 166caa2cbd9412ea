"""Generated samples in the exact layouts of public raw dumps: sixty users with one of two tastes, forty items."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

USERS, ITEMS, RATINGS_A_USER = 60, 40, 18
DAY = 86_400


def write_amazon_2023(folder: Path) -> None:
    """``Books.jsonl.gz`` and ``meta_Books.jsonl.gz``."""
    reviews = (
        {
            "rating": stars,
            "title": "Worth it",
            "text": text.replace("\n", "<br />"),
            "images": [],
            "asin": f"B{item:09d}",
            "parent_asin": f"B{item:09d}",
            "user_id": f"AE{user:026d}",
            "timestamp": 1_588_687_728_923 + 1000 * DAY * day,
            "helpful_vote": 0,
            "verified_purchase": True,
        }
        for user, item, stars, day, text in _reviews()
    )
    products = (
        {
            "main_category": "Books",
            "title": f"Tales of {_place(item)}, volume {item}",
            "subtitle": "Hardcover",
            "author": {
                "avatar": "https://example.org/a.png",
                "name": f"Author {item % 4}",
                "about": ["Writes."],
            },
            "average_rating": 4.5,
            "rating_number": 100,
            "features": ["A page-turner."],
            "description": ["About ", f"{_place(item)}."],
            "price": 9.99,
            "images": [],
            "videos": [],
            "store": f"Author {item % 4} (Author)",
            "categories": ["Books", "Fiction", _genre(item)],
            "details": {
                "Publisher": f"Press {item % 2} (May 3, 2005)",
                "Language": "English",
                "Pages": "300 pages",
            },
            "parent_asin": f"B{item:09d}",
            "bought_together": None,
        }
        for item in range(ITEMS)
    )
    _write(folder / "Books.jsonl.gz", reviews)
    _write(folder / "meta_Books.jsonl.gz", products)


def write_amazon_2018(folder: Path) -> None:
    """``Movies_and_TV_5.json.gz`` and ``meta_Movies_and_TV.json.gz``."""
    reviews = (
        {
            "overall": stars,
            "vote": "2",
            "verified": True,
            "reviewTime": "07 3, 2014",
            "reviewerID": f"A{user:013d}",
            "asin": f"{item:010d}",
            "style": {"Format:": " DVD"},
            "reviewerName": "Jo",
            "reviewText": text,
            "summary": "Fine",
            "unixReviewTime": 1_404_345_600 + DAY * day,
        }
        for user, item, stars, day, text in _reviews()
    )
    products = (
        {
            "category": ["Movies & TV", _genre(item)],
            "tech1": "",
            "description": [f"A film about {_place(item)}."],
            "fit": "",
            "title": f"Nights in {_place(item)} {item} [DVD]",
            "also_buy": [f"{(item + 1) % ITEMS:010d}"],
            "tech2": "",
            "brand": f"Star {item % 4}",
            "feature": [],
            "rank": "1,000 in Movies & TV (",
            "also_view": [],
            "main_cat": "Movies & TV",
            "similar_item": "",
            "date": "",
            "price": "$9.99",
            "asin": f"{item:010d}",
            "imageURL": [],
            "imageURLHighRes": [],
        }
        for item in range(ITEMS)
    )
    _write(folder / "Movies_and_TV_5.json.gz", reviews)
    _write(folder / "meta_Movies_and_TV.json.gz", products)


def write_yelp(folder: Path) -> None:
    """``yelp_dataset``, with businesses, reviews and users."""
    source = folder / "yelp_dataset"
    source.mkdir()
    reviews = (
        {
            "review_id": f"r{user:04d}{item:04d}",
            "user_id": f"user-{user}",
            "business_id": f"business-{item}",
            "stars": stars,
            "useful": 0,
            "funny": 0,
            "cool": 0,
            "text": text,
            "date": f"2018-{1 + day // 28:02d}-{1 + day % 28:02d} 22:09:11",
        }
        for user, item, stars, day, text in _reviews()
    )
    businesses = (
        {
            "business_id": f"business-{item}",
            "name": f"{_place(item)} No. {item}",
            "address": "1 Main St",
            "city": _place(item),
            "state": "CA",
            "postal_code": "93101",
            "latitude": 34.4,
            "longitude": -119.7,
            "stars": 4.5,
            "review_count": 100,
            "is_open": 1,
            "attributes": {"WiFi": "u'free'", "BusinessParking": "{'garage': False, 'street': True}"},
            "categories": f"Restaurants, {_genre(item)}",
            "hours": {"Monday": "8:0-18:0"},
        }
        for item in range(ITEMS)
    )
    users = (
        {
            "user_id": f"user-{user}",
            "name": "Jo",
            "review_count": 20,
            "yelping_since": f"{2008 + user % 10}-05-01 10:00:00",
            "useful": 1,
            "elite": "",
            "friends": "None",
            "fans": 0,
            "average_stars": 4.1,
        }
        for user in range(USERS)
    )
    for what, rows in {"review": reviews, "business": businesses, "user": users}.items():
        _write(source / f"yelp_academic_dataset_{what}.json", rows)


def _reviews() -> Iterable[tuple[int, int, float, int, str]]:
    """User, item, stars, day and text; users like items of their own genre, and rate one of the other low."""
    random = np.random.default_rng(0)
    for user in range(USERS):
        liked = random.permutation(np.arange(user % 2, ITEMS, 2))[:RATINGS_A_USER]
        for day, item in enumerate(liked.tolist()):
            text = f"{_place(item)} is as I like it.\nOnce more, says user {user}."
            yield user, item, float(random.integers(4, 6)), day, text
        yield user, (user + 1) % ITEMS, 1.0, RATINGS_A_USER, "Not for me."


def _genre(item: int) -> str:
    return ("Poetry", "Crime")[item % 2]


def _place(item: int) -> str:
    return ("Rome", "Oslo", "Lima")[item % 3]


def _write(file: Path, rows: Iterable[Mapping[str, object]]) -> None:
    text = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)
