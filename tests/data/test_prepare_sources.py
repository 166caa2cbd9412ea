"""Small samples in the exact layouts of public raw data can be prepared, loaded and audited."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from spike_dgl.data import Dataset, load_dataset
from spike_dgl.data.audit import audit
from tests.command_line import run_command

USERS = ("A1", "A2", "A3", "A4")
ITEMS = ("B1", "B2", "B3", "B4")


class Command:
    """Runner of ``prepare`` that loads the resulting data set."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str], folder: Path) -> None:
        self._patch, self._capture, self.folder = patch, capture, folder

    def __call__(self, *arguments: object) -> Dataset:
        made = self.folder / "made"
        files = [argument for argument in arguments if "=" not in str(argument)]
        settings = [argument for argument in arguments if "=" in str(argument)]
        code, _, errors = run_command(
            self._patch, self._capture, "prepare", *files, made, "--overwrite", *settings
        )
        assert code == 0, errors
        data = load_dataset(made)
        assert not [found for found in audit(data) if found.level == "fail" and "pairs" in found.check]
        return data

    def reviews(self) -> list[dict[str, Any]]:
        """Return the reviews kept for profiles."""
        text = (self.folder / "made" / "reviews.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    return Command(monkeypatch, capsys, tmp_path)


def write_lines(file: Path, rows: Sequence[object]) -> Path:
    """Write lines unchanged and objects as JSON; compressed according to the file name."""
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())
    return file


def triples(data: Dataset) -> set[tuple[str, str, str]]:
    rows = zip(*vars(data.triples).values(), strict=True)
    return {(data.entities.names[h], data.relations.names[r], data.entities.names[t]) for h, r, t in rows}


def earlier_review(user: str, item: str, day: int) -> dict[str, object]:
    return {
        "reviewerID": user,
        "asin": item,
        "reviewerName": "Jo",
        "helpful": [0, 1],
        "reviewText": f"{item} is fine, says {user}.",
        "overall": 5.0,
        "summary": "Fine",
        "unixReviewTime": 1_400_000_000 + 86_400 * day,
        "reviewTime": "05 13, 2014",
    }


def pairs() -> list[tuple[str, str, int]]:
    return [(user, item, (3 * u + i) % 7) for u, user in enumerate(USERS) for i, item in enumerate(ITEMS)]


FRACTIONS = ("valid_fraction=0.25", "test_fraction=0.25", "k_core=4")


class TestAmazon:
    def test_2014(self, command: Command, tmp_path: Path) -> None:
        reviews = write_lines(tmp_path / "reviews_Books_5.json.gz", [earlier_review(*row) for row in pairs()])
        metadata = [
            "{'asin': 'B1', 'title': \"Don't Panic &amp; more\", 'categories': [['Books', 'Humour']], 'brand': 'Pan',"
            " 'related': {'also_bought': ['B2', 'X9'], 'also_viewed': ['X9']}, 'description': 'A guide.'}",
            "{'asin': 'B2', 'categories': [['Books']], 'related': {'also_bought': ['X9']}, 'salesRank': {'Books': 7}}",
            "{'asin': 'B9', 'title': 'Not reviewed', 'categories': [['Books']]}",
        ]
        file = write_lines(tmp_path / "meta_Books.json.gz", metadata)
        data = command("amazon", reviews, file, *FRACTIONS)
        assert data.items.names == ("Don't Panic & more", "B2", "B3", "B4")
        assert triples(data) == {
            ("Don't Panic & more", "has category", "Books"),
            ("B2", "has category", "Books"),
        }
        assert data.descriptions.entities == {0: "A guide."}
        assert len(command.reviews()) == len(data.train) == 8
        data = command("amazon", reviews, file, "co_purchases=true", *FRACTIONS)
        bought = {("Don't Panic & more", "also bought", "B2"), ("B2", "also bought", "X9")}
        assert {t for t in triples(data) if t[1] != "has category"} == bought | {
            ("Don't Panic & more", "also bought", "X9"),
            ("Don't Panic & more", "also viewed", "X9"),
        }

    def test_2018(self, command: Command, tmp_path: Path) -> None:
        rows = [
            {**earlier_review(*row), "verified": True, "style": {"Format:": " Hardcover"}} for row in pairs()
        ]
        del rows[3]["reviewText"]
        reviews = write_lines(tmp_path / "Movies_and_TV_5.json", rows)
        metadata = [
            {
                "category": ["Movies & TV", "Drama"],
                "title": "One",
                "brand": "Visit Amazon's Ida Lupino Page",
                "asin": "B1",
                "feature": [],
            },
            {
                "category": ["Movies & TV"],
                "title": "Two",
                "brand": "Ida Lupino",
                "asin": "B2",
                "also_buy": ["B1"],
            },
            {"category": ["Movies & TV"], "title": "Two", "brand": "Somebody", "asin": "B2"},
        ]
        file = write_lines(tmp_path / "meta_Movies_and_TV.json", metadata)
        data = command("amazon", reviews, file, *FRACTIONS)
        assert triples(data) == {
            (title, relation, name)
            for title in ("One", "Two")
            for relation, name in (("has category", "Movies & TV"), ("has brand", "Ida Lupino"))
        }

    def test_2023(self, command: Command, tmp_path: Path) -> None:
        rows = [
            {
                "rating": 5.0,
                "title": "Fine",
                "text": "Good.",
                "images": [],
                "asin": f"{item}x",
                "parent_asin": item,
                "user_id": user,
                "timestamp": 1_588_687_728_923 + 86_400_000 * day,
                "helpful_vote": 0,
                "verified_purchase": True,
            }
            for user, item, day in pairs()
        ]
        reviews = write_lines(tmp_path / "Books.jsonl", rows)
        metadata: list[Mapping[str, object]] = [
            {
                "main_category": "Books",
                "title": f"Title {item}",
                "features": [],
                "description": ["Long", "story."],
                "price": None,
                "store": "Ann Author (Author)",
                "categories": ["Books", "Poetry"],
                "details": {
                    "Publisher": "Press; Reprint edition (May 3, 2005)",
                    "Language": "English, French (Dolby)",
                    "Starring": "A B, C D",
                    "Item Weight": "1 pound",
                },
                "parent_asin": item,
                "bought_together": None,
                "author": {"name": "Ann Author", "avatar": "https://example.org/a.png"},
            }
            for item in ITEMS[:2]
        ]
        data = command("amazon", reviews, write_lines(tmp_path / "meta_Books.jsonl", metadata), *FRACTIONS)
        assert {t[1:] for t in triples(data)} == {
            ("has category", "Books"),
            ("has category", "Poetry"),
            ("has brand", "Ann Author (Author)"),
            ("created by", "Ann Author"),
            ("published by", "Press"),
            ("in language", "English"),
            ("in language", "French"),
            ("starring", "A B"),
            ("starring", "C D"),
        }
        assert data.descriptions.entities == {0: "Long story.", 1: "Long story."}

    def test_another_layout(
        self, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        reviews = write_lines(tmp_path / "r.json", [{"user": 1, "item": 2}])
        with pytest.raises(AssertionError, match="the first row has user, item"):
            command("amazon", reviews, reviews)


def test_yelp(command: Command, tmp_path: Path) -> None:
    rows = [
        {
            "review_id": f"r{user}{item}",
            "user_id": user,
            "business_id": item,
            "stars": 4.0,
            "useful": 0,
            "text": "Tasty.\n\nWill come again.",
            "date": f"2018-07-0{1 + day} 22:09:11",
        }
        for user, item, day in pairs()
    ]
    write_lines(tmp_path / "yelp_academic_dataset_review.json.gz", rows)
    attributes = {
        "WiFi": "u'free'",
        "BusinessParking": "{'garage': False, 'street': True}",
        "Alcohol": "None",
    }
    businesses = [
        {
            "business_id": item,
            "name": f"Place {item}",
            "city": "Santa Barbara",
            "state": "CA",
            "stars": 5.0,
            "attributes": attributes if item == "B1" else None if item == "B4" else {"WiFi": "'free'"},
            "categories": "Cafes, Coffee & Tea" if item != "B3" else None,
            "hours": None,
        }
        for item in ITEMS
    ]
    write_lines(tmp_path / "yelp_academic_dataset_business.json", businesses)
    users = [
        {
            "user_id": "A1",
            "name": "Jo",
            "review_count": 9,
            "yelping_since": "2012-02-29 08:00:00",
            "friends": "A2",
        },
        {"user_id": "X", "name": "Nobody", "yelping_since": "2010-01-01 00:00:00"},
    ]
    write_lines(tmp_path / "yelp_academic_dataset_user.json.gz", users)
    data = command("yelp", tmp_path, *FRACTIONS, "min_entity_items=1", "from_date=2018-07-01")
    assert data.descriptions.users == {0: "On Yelp since 2012."}
    of_first = {(r, tail) for head, r, tail in triples(data) if head == "Place B1"}
    assert of_first == {
        ("has category", "Cafes"),
        ("has category", "Coffee & Tea"),
        ("in city", "Santa Barbara, CA"),
        ("in state", "CA"),
        ("has feature", "WiFi free"),
        ("has feature", "BusinessParking street"),
    }
    assert command.reviews()[0]["text"] == "Tasty.\n\nWill come again."


def test_movielens_1m(command: Command, tmp_path: Path) -> None:
    rows = [f"{user[1]}::{item[1]}::5::{978300760 + day}" for user, item, day in pairs()]
    write_lines(tmp_path / "ratings.dat", rows)
    titles = [
        "Cité, La (1995)::Drama|Sci-Fi",
        "Heat: Again (1995)::Drama",
        "Up (1961)::Drama",
        "It (1962)::Sci-Fi",
    ]
    text = "".join(f"{row}::{title}\n" for row, title in enumerate(titles, start=1))
    (tmp_path / "movies.dat").write_bytes(text.encode("latin-1"))
    (tmp_path / "README").write_text("terms\n")
    write_lines(tmp_path / "users.dat", ["1::F::1::10::48067", "2::M::56::16::70072", "3::M::25::0::55117"])
    data = command("movielens", tmp_path, *FRACTIONS)
    assert data.descriptions.users == {
        0: "A woman. Age: under 18. Occupation: pupil.",
        1: "A man. Age: 56 or older. Occupation: self-employed.",
        2: "A man. Age: 25 to 34.",
    }
    assert data.items.names[0] == "La Cité (1995)"
    assert ("La Cité (1995)", "released in", "1990s") in triples(data)
    assert (tmp_path / "made" / "README").read_text() == "terms\n"


def test_movielens_in_its_archive_with_a_table_and_triples(command: Command, tmp_path: Path) -> None:
    ratings = ["userId,movieId,rating,timestamp", *(f"{u[1]},{i[1]},4.5,{day}" for u, i, day in pairs())]
    files = {
        "ratings.csv": "".join(f"{row}\n" for row in ratings),
        "movies.csv": "movieId,title,genres\n"
        + "".join(f"{row},Film {row} (1990),Drama\n" for row in range(1, 5)),
        "README.txt": "terms\n",
    }
    for place in (tmp_path / "ml-small.zip", tmp_path / "plain"):
        if place.suffix:
            with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, text in files.items():
                    archive.writestr(f"ml-small/{name}", text)
        else:
            place.mkdir()
            for name, text in files.items():
                (place / name).write_text(text)
    further = {
        "colours.csv": "film;colour\n1;black|white\n2;white\n",
        "kg.tsv": "Q1\tcountry\tQ9\nQ2\tcountry\tQ9\n",
        "links.tsv": "1\tQ1\n2\tQ2\n",
        "names.tsv": "Q1\tFilm_1\nQ2\tSomething else\n",
    }
    for name, text in further.items():
        (tmp_path / name).write_text(text)
    table = f"items=[{{file: {tmp_path}/colours.csv, delimiter: ';', item: film, relations: {{colour: has_colour}}}}]"
    graph = [
        f"{option}={tmp_path}/{name}"
        for option, name in {"triples": "kg.tsv", "links": "links.tsv", "entity_names": "names.tsv"}.items()
    ]
    data = command("movielens", tmp_path / "ml-small.zip", *FRACTIONS, table, *graph)
    both = {(title, relation) for title, relation, _ in triples(data) if "2" in title}
    assert both == {
        ("Film 2 (1990)", relation) for relation in ("has genre", "released in", "has colour", "country")
    }
    assert data.linked_names == {0: "Film 1", 1: "Something else"}
    (mislinked,) = [f for f in audit(data) if f.check == "items linked to an entity of another name"]
    assert (mislinked.count, mislinked.level) == (1, "fail")
    card = (tmp_path / "made" / "dataset.json").read_bytes()
    command("movielens", tmp_path / "plain", *FRACTIONS, table, *graph)
    assert (tmp_path / "made" / "dataset.json").read_bytes() == card, (
        "out of the archive or not, it is the same"
    )


@pytest.mark.parametrize("source", ["movielens", "yelp", "lastfm"])
def test_a_missing_file_is_named(
    source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, errors = run_command(monkeypatch, capsys, "prepare", source, tmp_path, tmp_path / "made")
    assert code == 2
    assert "is missing\n  Give the folder or the zip archive with the files of" in errors


def test_lastfm_of_hetrec(command: Command, tmp_path: Path) -> None:
    plays = [f"{user[1]}\t{item[1]}\t{day + 1}" for user, item, day in pairs()]
    write_lines(tmp_path / "user_artists.dat", ["userID\tartistID\tweight", *plays])
    names = [
        "1\tMALICE MIZER\thttp://a\thttp://b",
        '2\t"Weird Al" Yankovic\thttp://a\thttp://b',
        "3\tThe \tx\ty",
    ]
    write_lines(tmp_path / "artists.dat", ["id\tname\turl\tpictureURL", *names])
    (tmp_path / "tags.dat").write_bytes("tagID\ttagValue\r\n1\tvisual kéi\r\n2\tmétal\r\n".encode("latin-1"))
    header = "userID\tartistID\ttagID\tday\tmonth\tyear"
    given = [(1, 1, 1), (2, 1, 1), (1, 2, 1), (3, 2, 1), (1, 3, 2)]
    tagged = [f"{user}\t{artist}\t{tag}\t1\t4\t2009" for user, artist, tag in given]
    write_lines(tmp_path / "user_taggedartists.dat", [header, *tagged])
    data = command("lastfm", tmp_path, *FRACTIONS)
    assert data.items.names == ("MALICE MIZER", '"Weird Al" Yankovic', "The", "4")
    # The tag that a single listener gave to artist 3 would reveal this listener's pair.
    assert triples(data) == {
        ("MALICE MIZER", "has tag", "visual kéi"),
        ('"Weird Al" Yankovic', "has tag", "visual kéi"),
    }
