"""Item names in profile texts, and detection of leaks of held-out items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.data import Dataset, Interactions, NodeTexts, Triples, Vocabulary, load_dataset
from spike_dgl.data.audit import audit
from spike_dgl.data.findings import Finding
from spike_dgl.data.mentions import NameFinder, named_items, spoken_words

NAMES = ("Heat (1995)", "It", "Yes", "Yes We Can", "Air (band)", "Air (film)", "(1)")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Loved Heat, and more.", {0}),
        ("the heat of summer", set()),
        ("It was fine", {1}),
        ("Yes We Can is great", {3}),
        ("Yes We", {2}),
        ("Yes, Yes We Can", {2, 3}),
        ("fond of Air", {4, 5}),
        ("Heated talk", set()),
        ("", set()),
    ],
)
def test_names_are_found_word_by_word(text: str, found: set[int]) -> None:
    assert NameFinder(NAMES).find(text) == found


@given(st.lists(st.sampled_from(["Yes", "We", "Can", "It", "so"]), max_size=12))
def test_of_names_that_begin_alike_the_longest_counts(words: list[str]) -> None:
    text = " ".join(words).replace("Yes We Can", "3")
    expected = {3} if "3" in text.split() else set()
    expected |= {row for row, name in ((1, "It"), (2, "Yes")) if name in text.split()}
    assert NameFinder(NAMES).find(" ".join(words)) == expected


def test_a_name_inside_a_longer_one_does_not_count() -> None:
    finder = NameFinder(["Yes We Can", "Can"])
    assert finder.find("Yes We Can") == {0}
    assert finder.find("Yes We Can Can") == {0, 1}


def test_spoken_words_leave_out_what_stands_in_parentheses_at_the_end() -> None:
    assert spoken_words("Big_Fish_(film)") == ("Big", "Fish")
    assert spoken_words("(500) Days of Summer (2009)") == ("500", "Days", "of", "Summer")


def pairs(*rows: tuple[int, int]) -> Interactions:
    array = np.array(rows, dtype=np.int64).reshape(-1, 2)
    return Interactions.from_pairs(array[:, 0], array[:, 1])


def data(texts: dict[int, str], **changes: object) -> Dataset:
    """Return a data set of twenty users and items; user u has u in training, u + 1 in validation, u + 2 in test."""
    users, items = np.arange(20), tuple(f"Item{row}" for row in range(20))
    names = Vocabulary("item", items)
    return Dataset(
        name="names",
        users=Vocabulary("user", tuple(f"u{row}" for row in range(20))),
        items=names,
        entities=Vocabulary("entity", items),
        relations=Vocabulary("relation", ("r",)),
        train=Interactions.from_pairs(users, users),
        valid=Interactions.from_pairs(users, (users + 1) % 20),
        test=Interactions.from_pairs(users, (users + 2) % 20),
        triples=Triples.from_rows(np.array([[0, 0, 1]])),
        profiles=NodeTexts(users=texts),
    ).replace(**changes)


def finding(dataset: Dataset, part: str) -> Finding:
    return next(
        found for found in audit(dataset) if found.check == f"{part} items named in their users' profiles"
    )


def test_texts_about_training_items_pass() -> None:
    clean = data({user: f"Likes Item{user}." for user in range(20)})
    assert finding(clean, "test") == Finding("test items named in their users' profiles", "pass", 0)
    assert len(named_items(clean, clean.profiles.users)["train"].named) == 20


def test_texts_that_name_the_answers_fail_with_an_example() -> None:
    leaked = data({user: f"Likes Item{user} and Item{(user + 2) % 20}." for user in range(20)})
    found = finding(leaked, "test")
    assert (found.level, found.count) == ("fail", 20)
    assert "100.00% of its pairs" in found.message
    assert "'Item2' in the profile of user u0" in found.message
    assert finding(leaked, "validation").level == "pass"


def test_a_few_names_are_a_warning() -> None:
    texts = {user: f"Likes Item{user}." for user in range(20)}
    many = data(
        texts, test=pairs(*((user, item) for user in range(20) for item in range(20) if item != user))
    )
    guesses = {user: texts[user] + f" Maybe Item{user + 1}." for user in range(4)}
    found = finding(many.replace(profiles=NodeTexts(users=texts | guesses)), "test")
    assert (found.level, found.count) == ("warn", 4)


def test_a_name_that_every_text_holds_is_no_leak() -> None:
    """An item is held out for half of the users, and its name is a word in every text."""
    texts = {user: f"Likes Item{user}. It is clear." for user in range(20)}
    names = ("It", *(f"Item{row}" for row in range(1, 20)))
    generic = data(
        texts,
        items=Vocabulary("item", tuple(f"i{row}" for row in range(20)), names),
        test=pairs(*((user, 0) for user in range(1, 11))),
        valid=Interactions.empty(),
    )
    named = named_items(generic, texts)["test"]
    assert len(named.named) == 10
    assert named.expected == pytest.approx(10)
    assert finding(generic, "test").level == "pass"


def test_a_training_item_of_the_same_name_explains_it() -> None:
    names = ("Air (band)", "Air (film)", *(f"Item{row}" for row in range(2, 20)))
    twins = data(
        {0: "Likes Air."},
        items=Vocabulary("item", tuple(f"i{row}" for row in range(20)), names),
        valid=pairs((0, 1)),
        test=pairs((0, 5)),
    )
    named = named_items(twins, twins.profiles.users)
    assert named["valid"].pairs == 0
    assert len(named["train"].named) == 1


def test_users_without_a_text_do_not_count() -> None:
    assert named_items(data({3: "Likes Item5."}), {3: "Likes Item5."})["test"].pairs == 1
    assert finding(data({}), "test").level == "skip"


def test_chance_is_how_often_strangers_texts_name_the_item() -> None:
    """Item 7 is named in the texts of users 0 and 1, who did not interact with it; neither did 15 other users."""
    texts = {user: "Likes Item7." if user < 2 else "Likes nothing." for user in range(20)}
    assert named_items(data(texts), texts)["test"].expected == pytest.approx(2 / 17)


def test_on_real_data_only_the_carved_validation_part_is_known_to_the_texts(shared_data: Path) -> None:
    """The texts of lastfm were written from all training pairs, a tenth of which is used for validation."""
    lastfm = load_dataset(shared_data / "lastfm")
    assert finding(lastfm, "validation").level == "fail"
    test = finding(lastfm, "test")
    assert test.level != "fail"
    assert test.count < 30
    whole = load_dataset(shared_data / "lastfm", valid_fraction=0.0)
    assert finding(whole, "validation").level == "skip"
