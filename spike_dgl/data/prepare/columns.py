"""Kinds of cells of a raw table: the exact rule, value by value, and the same for whole Arrow columns."""

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
"""Whole numbers from here on do not fit into an int64."""
LATEST = 10**14
"""Milliseconds since 1970, in the year 5138: a later moment is one whose unit somebody mistook."""

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
"""Texts that `id_of` refuses, once white space around them is gone."""
_TRUTH = {"true": 1, "false": 0}


@dataclass(frozen=True)
class Column:
    """A wanted column of a table.

    Parameters
    ----------
    name
        Its name in the file.
    kind
        "id" (see `spike_dgl.data.values.id_of`), "integer", "number" (true is 1 and false is 0), a time ("seconds" or
        "milliseconds" since 1970, or a "date" as in ISO 8601, UTC where it names no zone), all of which must be
        there in every row; or "text", which may be missing.
    """

    name: str
    kind: Kind

    @property
    def is_optional(self) -> bool:
        """Whether rows without it are fine."""
        return self.kind == "text"

    @property
    def arrow_type(self) -> Any:
        """The Arrow type that it is first read as."""
        return _ARROW[self.kind]


class NotOfKindError(ValueError):
    """A cell that does not hold what its column should; the text says what that is."""


def value_of(column: Column, value: object) -> str | int | float:
    """The value of one cell, as CSV (text) or JSON (anything) has it. Times become milliseconds.

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
    """An Arrow array, read as `Column.arrow_type`, as `value_of` would have every value; None if one is wrong."""
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
    """Ids as a dictionary array, so that each different one is checked once."""
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
