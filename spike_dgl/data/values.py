"""Ids and missing values: one rule for every format; docs/data.md shows it as a table.

Text alone does not tell a missing value from a word, nor an integer that was saved as a float from a version number.
Its column does: the rules for text take all different values of a column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence

MISSING = frozenset(
    "nan NaN -nan -NaN NaT <NA> NA N/A n/a #N/A #NA null NULL None \\N".split()  # noqa: SIM905
)
"""Spellings of a missing value by pandas, R, SQL and spreadsheets. "Null" and "none" are words."""

WHOLE_NUMBER = r"(?:0|-?[1-9][0-9]*)(?:\.0)?"
"""A whole number as integers and floats are printed: 101 or 101.0, but neither 0101 nor 1.00."""

LOST_DIGITS = r"-?[0-9](?:\.[0-9]+)?[eE]\+[0-9]+"
"""A number as floats of many digits are printed: 1.23457E+12. Different ids may look alike then."""

EXACT = 2**53
"""Beyond it, a float is one of several whole numbers."""

_WHOLE = re.compile(WHOLE_NUMBER)
_CODE = re.compile(r"[A-Z]{2}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LOST = re.compile(LOST_DIGITS)


class NoIdError(ValueError):
    """A value that cannot be an id, although it looks like one; the text says why."""


def is_missing(value: object) -> bool:
    """Whether a name, text or attribute says nothing: null, NaN, blank, or a spelling of these in `MISSING`."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and (not value.strip() or value.strip() in MISSING))


def id_of(value: object) -> str:
    """An id as text, without white space around it. Whole numbers have no decimal point, whatever their type.

    Raises
    ------
    ValueError
        If it cannot be an id: nothing, true or false, a fraction, a number that lost digits, several lines.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        raise NoIdError("write it as text or as an integer")
    if isinstance(value, dict):
        raise NoIdError(
            "expected an object a row; pandas writes such by to_json(orient='records', lines=True)"
        )
    if not isinstance(value, str):
        raise ValueError
    text = value.strip()
    text.encode()  # half a character, as JSON can spell it, is none
    if _LOST.fullmatch(text):
        raise NoIdError("its last digits were lost when it was saved as a float")
    if not text or _UNPRINTABLE.search(text):
        raise ValueError
    return text


def corrected_ids(different: Collection[str]) -> dict[str, str]:
    """Map ids to what they mean where that is spelt otherwise; empty unless all ids are whole numbers.

    Parameters
    ----------
    different
        The different values of the column, or of all columns of one kind of id.

    Returns
    -------
    dict
        Such as ``{"101.0": "101", "nan": ""}``, where the empty text is a missing id. "1.0" beside "1.5" or "1.10",
        and "nan" beside names, are ids like others.
    """
    return _corrections(different, MISSING) if _are_whole(different) else {}


def corrected_values(different: Collection[str]) -> dict[str, str]:
    """Map names or attributes to what they mean where that is spelt otherwise; the empty text is a missing value.

    A spelling in `MISSING` is a missing value in any column, except "NA" among codes of two capital letters, which is
    Namibia. The decimal point goes from whole numbers where the column has no others, such as years.
    """
    words = [text for text in different if not is_missing(text)]
    missing = MISSING - {"NA"} if words and all(map(_CODE.fullmatch, words)) else MISSING
    if _are_whole(different):
        return _corrections(different, missing)
    return {text: "" for text in different if text in missing}


def meant_values(values: Sequence[str]) -> tuple[list[str], int]:
    """A column of names or attributes as `corrected_values` has them, and how many are spellings of a missing value."""
    trimmed = [value.strip() for value in values]
    corrections = corrected_values(set(trimmed))
    meant = [corrections.get(value, value) for value in trimmed]
    return meant, sum(bool(before and not after) for before, after in zip(trimmed, meant, strict=True))


def is_whole(text: str) -> bool:
    """Whether a text is spelt as a whole number, perhaps as a float: `WHOLE_NUMBER`."""
    return _WHOLE.fullmatch(text) is not None


def _are_whole(different: Iterable[str]) -> bool:
    return all(is_missing(text) or is_whole(text) for text in different)


def _corrections(different: Iterable[str], missing: Collection[str]) -> dict[str, str]:
    return {
        text: "" if text in missing else text[:-2]
        for text in different
        if text in missing or text.endswith(".0")
    }
