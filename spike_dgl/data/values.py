"""Rules for ids and missing values, the same for every format; docs/data.md has them as a table.

One text alone may be a missing value or a word, and an integer saved as a float or a version number. Its column
decides, so the rules for text take all distinct values of a column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence

MISSING = frozenset(
    "nan NaN -nan -NaN NaT <NA> NA N/A n/a #N/A #NA null NULL None \\N".split()  # noqa: SIM905
)
"""Spellings of a missing value by pandas, R, SQL and spreadsheets. "Null" and "none" are ordinary words."""

WHOLE_NUMBER = r"(?:0|-?[1-9][0-9]*)(?:\.0)?"
"""Pattern of a whole number as integers and floats are printed: 101 or 101.0, but not 0101 or 1.00."""

LOST_DIGITS = r"-?[0-9](?:\.[0-9]+)?[eE]\+[0-9]+"
"""Pattern of a float printed without all its digits, such as 1.23457E+12: different ids may look the same."""

EXACT = 2**53
"""Bound below which a float represents a whole number exactly."""

_WHOLE = re.compile(WHOLE_NUMBER)
_CODE = re.compile(r"[A-Z]{2}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LOST = re.compile(LOST_DIGITS)


class NoIdError(ValueError):
    """Error for a value that looks like an id but cannot be one; the text gives the reason."""


def is_missing(value: object) -> bool:
    """Return whether a name, text or attribute is missing: null, NaN, blank, or a spelling in `MISSING`."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and (not value.strip() or value.strip() in MISSING))


def id_of(value: object) -> str:
    """Return an id as text, without surrounding white space; whole numbers of any type without a decimal point.

    Raises
    ------
    ValueError
        If it cannot be an id: missing, true or false, a fraction, a number that lost digits, several lines.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        raise NoIdError("write it as text or as an integer")
    if isinstance(value, dict):
        raise NoIdError("expected one object per row; in pandas, use to_json(orient='records', lines=True)")
    if not isinstance(value, str):
        raise ValueError
    text = value.strip()
    text.encode()  # raises ValueError for a lone surrogate, which JSON can contain
    if _LOST.fullmatch(text):
        raise NoIdError("its last digits were lost when it was saved as a float")
    if not text or _UNPRINTABLE.search(text):
        raise ValueError
    return text


def corrected_ids(different: Collection[str]) -> dict[str, str]:
    """Return corrections of ids; empty unless all ids are whole numbers or missing.

    Parameters
    ----------
    different
        Distinct values of the column, or of all columns with the same kind of id.

    Returns
    -------
    dict
        Corrected spelling by id, such as ``{"101.0": "101", "nan": ""}``; the empty text is a missing id. "1.0" beside
        "1.5" or "1.10", and "nan" beside names, are ordinary ids and not corrected.
    """
    return _corrections(different, MISSING) if _are_whole(different) else {}


def corrected_values(different: Collection[str]) -> dict[str, str]:
    """Return corrections of names or attributes, by value; the empty text is a missing value.

    A spelling in `MISSING` is a missing value in any column, except "NA" among codes of two capital letters: the
    country code of Namibia. In a column of whole numbers only, such as years, ".0" is removed.
    """
    words = [text for text in different if not is_missing(text)]
    missing = MISSING - {"NA"} if words and all(map(_CODE.fullmatch, words)) else MISSING
    if _are_whole(different):
        return _corrections(different, missing)
    return {text: "" for text in different if text in missing}


def meant_values(values: Sequence[str]) -> tuple[list[str], int]:
    """Return a column after `corrected_values`, and the number of values that are spellings of a missing value."""
    trimmed = [value.strip() for value in values]
    corrections = corrected_values(set(trimmed))
    meant = [corrections.get(value, value) for value in trimmed]
    return meant, sum(bool(before and not after) for before, after in zip(trimmed, meant, strict=True))


def is_whole(text: str) -> bool:
    """Return whether a text is a whole number, possibly printed as a float: `WHOLE_NUMBER`."""
    return _WHOLE.fullmatch(text) is not None


def _are_whole(different: Iterable[str]) -> bool:
    return all(is_missing(text) or is_whole(text) for text in different)


def _corrections(different: Iterable[str], missing: Collection[str]) -> dict[str, str]:
    return {
        text: "" if text in missing else text[:-2]
        for text in different
        if text in missing or text.endswith(".0")
    }
