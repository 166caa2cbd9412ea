"""Choice of reviews for profiles; reviews of held-out interactions are never used."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spike_dgl.data import Dataset, load_dataset
from spike_dgl.data.controls import make_items_cold
from spike_dgl.data.reviews import REVIEWS, ChosenReviews, shortened
from spike_dgl.data.training import TrainingData
from spike_dgl.errors import DataError
from tests.data.tiny import SPIKE, write_folder

# In the tiny data set: user 0 has 0, 1 in train, 3 in validation and 2 in test; user 1 has 2 and 3; user 2 has 3 and 0.
ROWS = [
    (0, 0, "Too long for the limit, this one."),
    (2, 0, "Short."),
    (0, 1, "A ship, and rain."),
    (0, 3, "HELD OUT for validation."),
    (0, 2, "HELD OUT for testing."),
    (1, 3, "HELD OUT as well."),
    (1, 2, " "),
    (2, 3, "Sand\neverywhere."),
]


def write_reviews(folder: Path, rows: Iterable[tuple[int, int, str]] = ROWS) -> None:
    lines = [json.dumps({"user": user, "item": item, "text": text}) for user, item, text in rows]
    (folder / REVIEWS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture
def tiny(tmp_path: Path) -> Dataset:
    folder = write_folder(tmp_path / "tiny", SPIKE)
    write_reviews(folder)
    return load_dataset(folder)


def choose(dataset: Dataset, an_item: int = 9, a_user: int = 9, characters: int = 20) -> ChosenReviews:
    return TrainingData.from_dataset(dataset).reviews.choose(an_item, a_user, characters)


def test_only_reviews_of_training_interactions_are_told(tiny: Dataset) -> None:
    chosen = choose(tiny, characters=100)
    assert chosen.items == {
        0: ["Too long for the limit, this one.", "Short."],
        1: ["A ship, and rain."],
        3: ["Sand everywhere."],
    }
    assert chosen.users == {
        0: [(0, "Too long for the limit, this one."), (1, "A ship, and rain.")],
        2: [(3, "Sand everywhere."), (0, "Short.")],
    }


def test_the_longest_that_fit_come_first_and_the_rest_is_cut(tiny: Dataset) -> None:
    chosen = choose(tiny)
    assert chosen.items[0] == ["Short.", "Too long for the..."]
    assert choose(tiny, an_item=1).items[0] == ["Short."]
    assert choose(tiny, a_user=1).users[0] == [(1, "A ship, and rain.")]
    assert choose(tiny, an_item=0).items == {}


def test_items_that_are_made_cold_take_their_reviews_along(tiny: Dataset) -> None:
    cold = make_items_cold(tiny, share=0.99, seed=0)
    assert not len(cold.train)
    assert choose(cold) == ChosenReviews({}, {})


def test_a_validation_part_that_is_carved_on_loading_takes_its_reviews_along(tmp_path: Path) -> None:
    histories = {user: list(range(20)) for user in range(4)}
    train = "".join(f"{user} {' '.join(map(str, items))}\n" for user, items in histories.items())
    files = {"train.txt": train, "test.txt": "0 20\n", "kg_final.txt": "0 0 21\n"}
    folder = write_folder(tmp_path, files)
    write_reviews(folder, [(user, item, f"{user} on {item}") for user in histories for item in range(20)])
    dataset = load_dataset(folder, valid_fraction=0.2)
    told = {(user, item) for user, texts in choose(dataset, 99, 99).users.items() for item, _ in texts}
    assert len(dataset.valid) == 16
    assert told == set(zip(dataset.train.users.tolist(), dataset.train.items.tolist(), strict=True))


def test_without_limits_nothing_is_read(tiny: Dataset) -> None:
    assert tiny.review_file is not None
    tiny.review_file.unlink()
    assert choose(tiny, 0, 0) == ChosenReviews({}, {})
    with pytest.raises(DataError, match="cannot be read"):
        choose(tiny)


def test_a_data_set_without_reviews(tmp_path: Path) -> None:
    assert choose(load_dataset(write_folder(tmp_path, SPIKE))) == ChosenReviews({}, {})


@pytest.mark.parametrize(
    "line",
    [
        '{"user": 0, "item": 4, "text": "x"}',
        '{"user": 3, "item": 0, "text": "x"}',
        '{"user": -1, "item": 0, "text": "x"}',
        '{"user": true, "item": 0, "text": "x"}',
        '{"user": 0, "item": 0, "text": null}',
        '{"user": 0, "item": 0}',
        "[0, 0]",
        '{"user": 0',
        "",
    ],
)
def test_a_line_that_is_no_review_is_named(tiny: Dataset, line: str) -> None:
    assert tiny.review_file is not None
    with tiny.review_file.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DataError, match=rf"{REVIEWS}, line 9: expected a user and an item of the data set"):
        choose(tiny)


def test_reviews_of_other_interactions_alone_are_an_error(tiny: Dataset) -> None:
    assert tiny.review_file is not None
    rows = [(1, 0, "Fine."), (2, 1, "Good.")] * 10
    write_reviews(tiny.review_file.parent, rows)
    problem = (
        "none of its 20 rows matches the training interactions: user, item is '1, 0' here and '0, 0' there"
    )
    with pytest.raises(DataError, match=problem):
        choose(tiny)
    write_reviews(tiny.review_file.parent, rows[1:])  # so few reviews may all be of held-out interactions
    assert choose(tiny) == ChosenReviews({}, {})


def test_a_review_that_is_a_missing_value(tiny: Dataset) -> None:
    assert tiny.review_file is not None
    write_reviews(tiny.review_file.parent, [(0, 0, "nan"), (0, 1, "Good.")])
    assert choose(tiny).users == {0: [(1, "Good.")]}


reviews = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.text("ab c", max_size=12)), max_size=19)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(reviews, st.integers(0, 3), st.integers(0, 3), st.integers(1, 9))
def test_the_choice_equals_a_slow_one(
    tiny: Dataset, rows: list[tuple[int, int, str]], an_item: int, a_user: int, characters: int
) -> None:
    assert tiny.review_file is not None
    write_reviews(tiny.review_file.parent, rows)
    train = set(zip(tiny.train.users.tolist(), tiny.train.items.tolist(), strict=True))
    texts = [
        (user, item, " ".join(text.split()))
        for user, item, text in rows
        if (user, item) in train and text.strip()
    ]
    fits = sorted((row for row in texts if len(row[2]) <= characters), key=lambda row: -len(row[2]))
    order = fits + sorted((row for row in texts if len(row[2]) > characters), key=lambda row: len(row[2]))
    chosen = choose(tiny, an_item, a_user, characters)
    for item in range(4):
        expected = [shortened(text, characters) for _, about, text in order if about == item][:an_item]
        assert chosen.items.get(item, []) == expected
    for user in range(3):
        mine = [(about, shortened(text, characters)) for author, about, text in order if author == user]
        assert chosen.users.get(user, []) == mine[:a_user]
