"""Titles that a query gives as examples."""

from __future__ import annotations

import numpy as np
import pytest

from spike_dgl.recommend.titles import Question, Titles

NAMES = (
    "Heat (1995)",
    "The Matrix (1999)",
    "Seven (a.k.a. Se7en) (1995)",
    "Star Wars: Episode IV - A New Hope (1977)",
    "Dumb & Dumber (1994)",
    "Amélie (2001)",
    "Monsters, Inc. (2001)",
    "Alien (1979)",
    "Alien: Covenant (2017)",
    "(1998)",
    "",
)
TITLES = Titles(NAMES, np.array([3, 5, 1, 7, 2, 2, 4, 9, 1, 0, 0]))


@pytest.mark.parametrize(
    ("query", "liked"),
    [
        ("films like Heat", ["Heat (1995)"]),
        ("like the matrix", ["The Matrix (1999)"]),
        ("like Matrix!", ["The Matrix (1999)"]),
        ("similar to se7en or seven", ["Seven (a.k.a. Se7en) (1995)"]),
        ("in the style of star wars", ["Star Wars: Episode IV - A New Hope (1977)"]),
        ("like dumb and dumber", ["Dumb & Dumber (1994)"]),
        ('"Amelie" please', ["Amélie (2001)"]),
        ("such as Monsters, Inc. and Heat", ["Monsters, Inc. (2001)", "Heat (1995)"]),
        ("like “Heat”, “Alien” and Tom Hanks", ["Heat (1995)", "Alien (1979)"]),
        ("like Alien: Covenant", ["Alien: Covenant (2017)"]),
        ("like alien (1979)", ["Alien (1979)"]),
        ("similar to: Heat (1995)", ["Heat (1995)"]),
    ],
)
def test_titles_are_found_after_words_of_comparison(query: str, liked: list[str]) -> None:
    assert [NAMES[row] for row in TITLES.read(query).liked] == liked


@pytest.mark.parametrize(
    "query",
    [
        "alien planets",
        "the heat of summer",
        "like alien invasions",
        "not like Heat",
        "nothing like Heat",
        "I would like to laugh",
        "likes Heat",
        "like",
        'like "',
        "",
    ],
)
def test_other_words_are_no_titles(query: str) -> None:
    assert TITLES.read(query) == Question((), query)


def test_the_most_popular_item_of_a_title_is_meant() -> None:
    same = ("Cape Fear (1962)", "Cape Fear (1991)")
    assert Titles(same, np.array([1, 2])).read("like cape fear").liked == (1,)
    assert Titles(same, np.array([2, 2])).read("like cape fear").liked == (0,)
    assert Titles(same, np.array([1, 2])).read("like cape fear (1962)").liked == (0,)


def test_the_rest_of_the_query_has_neither_titles_nor_words_of_asking() -> None:
    asked = TITLES.read("Show me some dark films like Heat and the Matrix, but with pirates")
    assert (asked.liked, asked.rest) == ((0, 1), "dark but with pirates")
    assert TITLES.read("find me movies like Heat").rest == ""


def test_items_can_be_added() -> None:
    assert TITLES.with_names(["Heat 2"]).read("like heat 2").liked == (len(NAMES),)
    assert Titles((), np.empty(0, np.int64)).read("like heat").liked == ()
