"""Reasons why a request has no usable answer, and error messages of servers."""

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
"""Failures that a retry would probably repeat. Such a request is given up after `ClientOptions.attempts` attempts.

``unreadable``: the response is not a chat completion. ``invalid``: the server rejected the request. Most of the others
are rules of `spike_dgl.profiles.llm.rejections`.
"""

Mishap = Literal["rate limited", "server error", "timed out", "no connection", "expired"]
"""Failures not due to the request, which every later run sends again. ``expired``: its batch ran out of time."""

MISHAPS: tuple[Mishap, ...] = ("rate limited", "server error", "timed out", "no connection", "expired")

DETAIL_LENGTH = 300


@dataclass(frozen=True)
class Failure:
    """Failure of a request: a reason of `Rejection` or `Mishap`, and details such as the server's message."""

    reason: Rejection | Mishap
    detail: str = ""


@dataclass(frozen=True)
class ErrorBody:
    """Content of an error body.

    Parameters
    ----------
    message
        Message; empty if there is none.
    code
        Error code, or else its type.
    parameter
        Name of the parameter that caused the error, if the body has a field for it.
    """

    message: str = ""
    code: str = ""
    parameter: str = ""


def read_error(body: Any) -> ErrorBody:
    """Read an error body in any of the usual formats."""
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
    """Return pydantic's validation errors, which servers built on FastAPI forward."""
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
    """Return the beginning of a text with normalized white space, for a log or a message."""
    text = " ".join(
        (content.decode("utf-8", "replace") if isinstance(content, bytes) else valid(content)).split()
    )
    return text if len(text) <= DETAIL_LENGTH else text[:DETAIL_LENGTH] + "..."


def valid(text: str) -> str:
    """Replace lone surrogates, which JSON can contain but UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode("utf-8")
