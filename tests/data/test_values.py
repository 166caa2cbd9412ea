"""The rules for ids and missing values."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.data.values import (
    MISSING,
    NoIdError,
    corrected_ids,
    corrected_values,
    id_of,
    is_missing,
    meant_values,
)

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


@pytest.mark.parametrize(
    ("different", "corrections"),
    [
        ({"101.0", "7.0"}, {"101.0": "101", "7.0": "7"}),
        ({"101.0", "7"}, {"101.0": "101"}),
        ({"101.0", "nan"}, {"101.0": "101", "nan": ""}),
        ({"101", "NULL"}, {"NULL": ""}),
        ({"-3.0", "0.0"}, {"-3.0": "-3", "0.0": "0"}),
        ({"1.0", "1.5"}, {}),
        ({"1.0", "1.10"}, {}),
        ({"1.0", "01"}, {}),
        ({"1.00", "2.00"}, {}),
        ({"ann", "nan"}, {}),
        ({"DE", "NA"}, {}),
        (set(), {}),
    ],
)
def test_ids_are_judged_by_their_column(different: set[str], corrections: dict[str, str]) -> None:
    assert corrected_ids(different) == corrections


@pytest.mark.parametrize(
    ("different", "corrections"),
    [
        ({"1999.0", "2001.0"}, {"1999.0": "1999", "2001.0": "2001"}),
        ({"1999.0", "nan"}, {"1999.0": "1999", "nan": ""}),
        ({"7.0", "7.5"}, {}),
        ({"Acme", "nan", "NULL", "\\N", "<NA>"}, {"nan": "", "NULL": "", "\\N": "", "<NA>": ""}),
        ({"Null", "none", "Nan", "Na"}, {}),  # people and places; not spellings of a missing value
        ({"DE", "FR", "NA"}, {}),  # Namibia
        ({"DE", "NA", "nan"}, {"nan": ""}),
        ({"Germany", "NA"}, {"NA": ""}),
        ({"NA"}, {"NA": ""}),
    ],
)
def test_names_and_attributes_are_judged_by_their_column(
    different: set[str], corrections: dict[str, str]
) -> None:
    assert corrected_values(different) == corrections


def test_a_column_of_names() -> None:
    assert meant_values([" Teapot ", "nan", "", "Cup", "nan"]) == (["Teapot", "", "", "Cup", ""], 2)


@pytest.mark.parametrize(
    ("value", "expected"), [("  a b ", "a b"), (7, "7"), (101.0, "101"), ("1.0", "1.0"), (-2.0, "-2")]
)
def test_an_id(value: object, expected: str) -> None:
    assert id_of(value) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1.5, "write it as text or as an integer"),
        (2.0**53, "write it as text or as an integer"),
        ("1.23457E+12", "its last digits were lost"),
        ("1e+20", "its last digits were lost"),
        ({"0": "ann"}, "one object per row"),
    ],
)
def test_values_that_look_like_an_id(value: object, reason: str) -> None:
    with pytest.raises(NoIdError, match=reason):
        id_of(value)


@pytest.mark.parametrize("value", [None, "", " ", True, math.nan, "a\nb", "\ud800", ["a"]])
def test_values_that_are_no_id(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        id_of(value)


@pytest.mark.parametrize(
    ("value", "missing"),
    [
        (None, True),
        (math.nan, True),
        (" ", True),
        (" NaN ", True),
        (0, False),
        (False, False),
        ("Null", False),
    ],
)
def test_missing(value: object, missing: bool) -> None:
    assert is_missing(value) is missing


spellings = st.sampled_from(sorted(MISSING))
integers = st.integers(-(10**20), 10**20).map(str)


@given(st.sets(integers), st.sets(spellings), st.data())
def test_a_column_of_whole_numbers_is_known_however_it_was_saved(
    numbers: set[str], missing: set[str], data: st.DataObject
) -> None:
    as_floats = {number: data.draw(st.sampled_from([number, f"{number}.0"])) for number in numbers}
    saved = {*as_floats.values(), *missing}
    corrections = corrected_ids(saved)
    assert {corrections.get(text, text) for text in saved} - {""} == numbers
    assert corrections == corrected_values(saved)


@given(st.sets(st.text(max_size=4) | integers | spellings))
def test_corrections_leave_nothing_to_correct(different: set[str]) -> None:
    for rule in (corrected_ids, corrected_values):
        corrections = rule(different)
        meant = {corrections.get(text, text) for text in different} - {""}
        assert rule(meant) == {}


def test_the_page_shows_every_spelling() -> None:
    page = PAGE.read_text(encoding="utf-8")
    shown = re.search(r"^Spellings of a missing value: (.*?)\.$", page, flags=re.DOTALL | re.MULTILINE)
    assert shown
    assert set(re.findall(r"`([^`]+)`", shown[1])) == MISSING
