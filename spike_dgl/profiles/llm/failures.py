"""Reasons why a request has no text, and the words of servers about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Rejection = Literal[
    "empty",
    "refused",
    "cut off",
    "markup",
    "too long",
    "repetitive",
    "off topic",
    "unreadable",
    "prompt too long",
    "invalid",
]
"""Asking again would most likely end the same: such a request is given up after a few times.

``unreadable``: no chat completion at all. ``invalid``: the server found the request itself at fault. The rules of most
others are in `spike_dgl.profiles.llm.rejections`.
"""

Mishap = Literal["rate limited", "server error", "timed out", "no connection", "expired"]
"""Says nothing about the request, which is sent again by every later run. ``expired``: its batch ran out of time."""

MISHAPS: tuple[Mishap, ...] = ("rate limited", "server error", "timed out", "no connection", "expired")

DETAIL_LENGTH = 300


@dataclass(frozen=True)
class Failure:
    """Why there is no text, in one of the fixed words of `Rejection` and `Mishap`, and in the server's own."""

    reason: Rejection | Mishap
    detail: str = ""


@dataclass(frozen=True)
class ErrorBody:
    """Words of a server about an error.

    Parameters
    ----------
    message
        In its own words; empty where there are none.
    code
        Its code, or else its type.
    parameter
        Name of the parameter at fault, where it is named apart from the message.
    """

    message: str = ""
    code: str = ""
    parameter: str = ""


def read_error(body: Any) -> ErrorBody:
    """Read an error body, whichever of the usual shapes it has."""
    while isinstance(body, list) and body:  # Gemini puts the object into a list
        body = body[0]
    if not isinstance(body, Mapping):
        return ErrorBody(body if isinstance(body, str) else "")
    inner = body.get("error") or body
    if not isinstance(inner, Mapping):
        return ErrorBody(str(inner), str(body.get("error_type") or ""))
    said = next((inner[name] for name in ("message", "detail", "msg") if inner.get(name)), "")
    code = next((inner[name] for name in ("code", "status", "type") if inner.get(name)), "")
    complaints = _complaints(said)
    if complaints:
        message = "; ".join(f"{_place(one)}: {one.get('msg')}" for one in complaints)
        return ErrorBody(message, str(code), _place(complaints[0]).removeprefix("body.").partition(".")[0])
    message = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    return ErrorBody(message, str(code), str(inner.get("param") or ""))


def _complaints(said: Any) -> list[Mapping[str, Any]]:
    """Complaints of pydantic about a request, which servers built on FastAPI hand on."""
    if isinstance(said, str) and said.startswith("{"):
        try:
            said = json.loads(said)
        except (ValueError, RecursionError):
            return []
    if isinstance(said, Mapping):
        said = said.get("detail")
    return [one for one in said if isinstance(one, Mapping)] if isinstance(said, list) else []


def _place(complaint: Mapping[str, Any]) -> str:
    place = complaint.get("loc")
    return ".".join(map(str, place)) if isinstance(place, list) else str(place or "")


def shorten(content: bytes | str) -> str:
    """Return the beginning of a text, white space made plain, for a log or a message."""
    text = " ".join(
        (content.decode("utf-8", "replace") if isinstance(content, bytes) else valid(content)).split()
    )
    return text if len(text) <= DETAIL_LENGTH else text[:DETAIL_LENGTH] + "..."


def valid(text: str) -> str:
    """Replace half surrogate pairs, which JSON can spell and no file or database can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
