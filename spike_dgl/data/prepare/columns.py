"""Parsing of a raw table's cells by kind: exactly, value by value, and equivalently for whole Arrow columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal, TypeAlias

from spike_dgl.data.files import shorten
from spike_dgl.data.prepare.arrow import pa, pc
from spike_dgl.data.values import EXACT, LOST_DIGITS, NoIdError, id_of

Kind: TypeAlias = Literal["id", "integer", "number", "seconds", "milliseconds", "date", "text"]

LIMIT = 2**63
"""Bound of whole numbers that fit into an int64."""
LATEST = 10**14
"""Latest time in milliseconds since 1970, in the year 5138: a later one has the wrong unit."""

_ARROW = {
    "id": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "seconds": pa.float64(),
    "milliseconds": pa.float64(),
    "date": pa.string(),
    "text": pa.string(),
}
_NO_ID = rf"^$|[\p{{Cc}}\p{{Zl}}\p{{Zp}}]|^{LOST_DIGITS}$"
"""Pattern of texts, without surrounding white space, that `id_of` refuses."""
_TRUTH = {"true": 1, "false": 0}


@dataclass(frozen=True)
class Column:
    """Column of a table to read.

    Parameters
    ----------
    name
        Name of the column in the file.
    kind
        "id" (see `spike_dgl.data.values.id_of`), "integer", "number" (true is 1 and false is 0), "seconds" or
        "milliseconds" since 1970, "date" (ISO 8601, UTC if it has no time zone), or "text". Only "text" may be missing
        in a row.
    """

    name: str
    kind: Kind

    @property
    def is_optional(self) -> bool:
        """True if rows may lack a value."""
        return self.kind == "text"

    @property
    def arrow_type(self) -> Any:
        """Arrow type that the column is first read as."""
        return _ARROW[self.kind]


class NotOfKindError(ValueError):
    """Error for a cell that is not of its column's kind; the text gives the expected kind."""


def value_of(column: Column, value: object) -> str | int | float:
    """Parse the value of one cell, a text from CSV or any value from JSON. Times are returned in milliseconds.

    Raises
    ------
    NotOfKindError
        If it is not of the column's kind.
    """
    try:
        return _READ[column.kind](value)
    except (ValueError, OverflowError) as error:
        shown = shorten(value) if isinstance(value, str) else shorten(str(value))
        reason = f": {error}" if isinstance(error, NoIdError) else ""
        problem = f"{shown} in column '{column.name}' is not {_WANTED[column.kind]}{reason}"
        raise NotOfKindError(problem) from None


def checked(column: Column, values: Any) -> Any:
    """Apply `value_of` to an Arrow array of type `Column.arrow_type`; None if any value is invalid."""
    if column.kind == "text":
        return pc.fill_null(values, "")
    if values.null_count:
        return None
    if column.kind == "id":
        return _checked_ids(values)
    if column.kind == "date":
        return _parsed_dates(values)
    if column.kind == "integer":
        return values
    if not pc.all(pc.is_finite(values)).as_py():
        return None
    return values if column.kind == "number" else _checked_times(values, column.kind)


def _checked_ids(values: Any) -> Any:
    """Check ids as a dictionary array, so that each distinct id is checked once; None if any is invalid."""
    if pa.types.is_floating(values.type):
        exact = pc.and_(pc.equal(values, pc.trunc(values)), pc.less(pc.abs(values), float(EXACT)))
        if not pc.all(exact).as_py():
            return None
        values = values.cast(pa.int64())
    coded = values.dictionary_encode()
    different = coded.dictionary.cast(pa.string())
    trimmed = pc.utf8_trim_whitespace(different)
    if pc.any(pc.match_substring_regex(trimmed, _NO_ID)).as_py():
        return None
    if trimmed.equals(different):
        return pa.DictionaryArray.from_arrays(coded.indices, different)
    return trimmed.take(coded.indices).dictionary_encode()


def _checked_times(values: Any, unit: str) -> Any:
    milliseconds = pc.multiply(values, 1000.0) if unit == "seconds" else values
    if len(values) and not pc.all(pc.less(pc.abs(milliseconds), float(LATEST))).as_py():
        return None
    return pc.round(milliseconds).cast(pa.int64())


def _parsed_dates(values: Any) -> Any:
    try:
        return values.cast(pa.timestamp("ms")).cast(pa.int64())
    except pa.ArrowInvalid:
        return None


def _read_integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or "_" in str(value):
        raise ValueError
    number = int(value.strip().removesuffix(".0") if isinstance(value, str) else value)
    if number != value and not isinstance(value, str):
        raise ValueError
    if abs(number) >= LIMIT:
        raise ValueError
    return number


def _read_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or "_" in str(value):
        raise ValueError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _read_rating(value: object) -> float:
    truth = _TRUTH.get(str(value).strip().lower())
    return _read_number(value) if truth is None else float(truth)


def _read_milliseconds(value: object, unit: float = 1.0) -> int:
    milliseconds = _read_number(value) * unit
    if abs(milliseconds) >= LATEST:
        raise ValueError
    return round(milliseconds)


def _read_date(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError
    moment = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return round(moment.timestamp() * 1000)


def _read_text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(part for part in value if isinstance(part, str))
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return text.encode(errors="replace").decode()


_READ: dict[Kind, Callable[[object], str | int | float]] = {
    "id": id_of,
    "integer": _read_integer,
    "number": _read_rating,
    "seconds": lambda value: _read_milliseconds(value, 1000.0),
    "milliseconds": _read_milliseconds,
    "date": _read_date,
    "text": _read_text,
}
_WANTED = {
    "id": "an id",
    "integer": "a whole number",
    "number": "a number",
    "seconds": "a time in seconds",
    "milliseconds": "a time in milliseconds",
    "date": "a date such as 2018-07-07 or 2018-07-07 22:09:11",
}
