"""What a server sent back: a text to keep, or the reason why it is not one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Rejection = Literal["empty", "refused", "cut off", "too long", "unreadable", "invalid"]
"""Asking again would most likely end the same: such a request is given up after a few times.

``unreadable``: no chat completion at all. ``invalid``: the server found the request itself at fault.
"""

Mishap = Literal["rate limited", "server error", "timed out", "no connection", "expired"]
"""Says nothing about the request, which is sent again by every later run. ``expired``: its batch ran out of time."""

MISHAPS: tuple[Mishap, ...] = ("rate limited", "server error", "timed out", "no connection", "expired")

WORD_TOLERANCE = 1.25
"""An answer may have this many times the words that were asked for: models count badly, and it was paid."""

DETAIL_LENGTH = 300

_THOUGHTS = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)

# Case matters: "I Can't Help Myself" is a song, "I can't help with" is a refusal.
_REFUSAL = re.compile(
    r"^(I'm|I am) (very |so |really )?sorry,? (but |that )?(I|as an)\b"
    r"|^(I'm )?[Ss]orry,? (but )?(I can|I'm|I am|as an)\b"
    r"|^(I apologi[sz]e|Unfortunately), (but )?(I|as an)\b"
    r"|^I (can't|cannot|can not|won't|will not|am unable to|am not able to|'m unable to) "
    r"(help with|assist|provide|comply|fulfil|continue with|create|generate|write|produce|complete|discuss|do that)"
    r"|^I'm (unable|not able) to "
    r"|^As an? (AI|artificial intelligence|large language model|language model)\b"
)


@dataclass(frozen=True)
class Failure:
    """Why there is no text, in one of the fixed words of `Rejection` and `Mishap`, and in the server's own."""

    reason: Rejection | Mishap
    detail: str = ""


@dataclass(frozen=True)
class Completion:
    """One response of a server.

    Parameters
    ----------
    result
        The text, or why it was rejected.
    model
        Which model the server says wrote it; empty where it does not say.
    prompt_tokens, completion_tokens
        What the server charges for, rejected or not; 0 where it does not say.
    """

    result: str | Failure
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


def read_completion(content: bytes | str, max_words: int) -> Completion:
    """`read_body` of the JSON text that a server sent."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return Completion(Failure("unreadable", shorten(content)))
    return read_body(body, max_words)


def read_body(body: Any, max_words: int) -> Completion:
    """Take the text out of a chat completion, and check it.

    A text passes if it is not empty, no refusal, not cut off at the token limit, and has at most `WORD_TOLERANCE`
    times `max_words` words. The thoughts that some models put before their answer, between ``<think>`` and
    ``</think>``, are dropped first.
    """
    try:
        choice = body["choices"][0]
        text = choice["message"].get("content") or ""
        refusal = choice["message"].get("refusal") or ""
        usage = body.get("usage") or {}
        sizes = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        result = _check(text, str(refusal), choice.get("finish_reason"), max_words)
        model = _valid(str(body.get("model") or ""))
    except (ValueError, LookupError, TypeError, AttributeError):
        return Completion(Failure("unreadable", shorten(json.dumps(body))))
    return Completion(result, model, *sizes)


def _check(text: str, refusal: str, finish: object, max_words: int) -> str | Failure:
    text = _THOUGHTS.sub("", _valid(text)).strip()
    if refusal or finish == "content_filter":
        return Failure("refused", shorten(refusal or "by the server's content filter"))
    if finish == "length" or text.startswith("<think>"):
        return Failure("cut off", f"at the token limit, after {shorten(text[-80:])}")
    if not text:
        return Failure("empty")
    if _REFUSAL.match(text.replace("’", "'")):
        return Failure("refused", shorten(text))
    words = len(text.split())
    if words > WORD_TOLERANCE * max_words:
        return Failure("too long", f"{words} words, {max_words} were asked for")
    return text


def read_error(body: Mapping[str, Any] | object) -> tuple[str, str]:
    """Message and code of an error body, whichever of the usual shapes it has; empty where there is none."""
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        if isinstance(inner, Mapping):
            return str(inner.get("message") or ""), str(inner.get("code") or "")
        return str(inner), ""
    return str(body or ""), ""


def shorten(content: bytes | str) -> str:
    """The beginning of a text, white space made plain, for a log or a message."""
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else _valid(content)
    text = " ".join(text.split())
    return text if len(text) <= DETAIL_LENGTH else text[:DETAIL_LENGTH] + "..."


def _valid(text: str) -> str:
    """Text without half surrogate pairs, which JSON can spell and no file or database can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
