"""Reading of chat completions: the tokens charged, and the text or the reason why it is rejected.

Usage is read independently of the text, so that the cost of an unreadable answer is recorded, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spike_dgl.profiles.llm.addresses import without_secrets
from spike_dgl.profiles.llm.failures import Failure, Mishap, Rejection, read_error, shorten, valid
from spike_dgl.profiles.llm.rejections import Candidate, rejection
from spike_dgl.profiles.llm.requests import JUDGE, TOKENS_PER_BYTE, Asked
from spike_dgl.profiles.llm.unwrap import unwrap

FINISHES: Mapping[str, Rejection | Mishap] = {
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "max_length", "model_length"), "cut off"),
    **dict.fromkeys(("content_filter", "refusal", "safety", "recitation", "blocklist", "spii"), "refused"),
    **dict.fromkeys(("prohibited_content", "sensitive"), "refused"),
    **dict.fromkeys(("error", "network_error", "abort", "insufficient_system_resource"), "server error"),
}
"""Finish reasons of servers that mean there is no usable text."""


@dataclass(frozen=True)
class Completion:
    """Response of a server to a request.

    Parameters
    ----------
    result
        The text, or why it was rejected.
    model
        Name of the model in the response; empty if there is none.
    prompt_tokens, completion_tokens
        Tokens charged, also for rejected answers; estimated if the server does not report them.
    """

    result: str | Failure
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


def read_completion(
    content: str, asked: Asked, prompt: str = "", key_variable: str | None = None
) -> Completion:
    """Parse a server's response, and read it with `read_body`.

    If it has no usable answer, secrets that the server may have echoed are replaced before the response is quoted.
    """
    completion = _read(content, asked, prompt)
    if isinstance(completion.result, Failure):
        return _read(without_secrets(content, key_variable), asked, prompt)
    return completion


def _read(content: str, asked: Asked, prompt: str) -> Completion:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return Completion(Failure("unreadable", shorten(content)))
    return read_body(body, asked, prompt)


def read_body(body: Any, asked: Asked, prompt: str = "") -> Completion:
    """Extract the text of a chat completion, and check it.

    Parameters
    ----------
    body
        Parsed JSON body of a response.
    asked
        Request that it answers.
    prompt
        Prompt of the request, to check that the text is on topic; empty if unknown.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"]
        content = _text_of(message.get("content"))
    except (LookupError, TypeError, AttributeError):
        unreadable = Failure("unreadable", shorten(json.dumps(body)))
        return Completion(unreadable, _model(body), *read_usage(body))
    thoughts = _thoughts_of(message)
    sizes = read_usage(body)
    estimates = asked.prompt_bytes, len((content + thoughts).encode("utf-8", "replace"))
    counted = (
        size or math.ceil(estimate * TOKENS_PER_BYTE) for size, estimate in zip(sizes, estimates, strict=True)
    )
    result = _failed(choice, content, thoughts) or _judged(content, thoughts, asked, prompt)
    return Completion(result, _model(body), *counted)


def read_usage(body: Any) -> tuple[int, int]:
    """Return the reported tokens of prompt and answer; 0 if not reported.

    Some servers count reasoning tokens only in the total.
    """
    usage = body.get("usage") if isinstance(body, Mapping) else None
    if not isinstance(usage, Mapping):
        return 0, 0
    prompt = _number(usage.get("prompt_tokens")) or _number(usage.get("input_tokens"))
    answer = _number(usage.get("completion_tokens")) or _number(usage.get("output_tokens"))
    return prompt, max(answer, _number(usage.get("total_tokens")) - prompt if prompt else 0)


def _number(value: Any) -> int:
    try:
        return max(int(float(value)), 0)
    except (TypeError, ValueError, OverflowError):
        return 0


def _model(body: Any) -> str:
    return valid(str(body.get("model") or "")) if isinstance(body, Mapping) else ""


def _text_of(content: Any) -> str:
    """Return the text of a content, which is a string or a list of text and reasoning parts."""
    if content is None or isinstance(content, str):
        return valid(content or "")
    parts = [content] if isinstance(content, Mapping) else content
    if not isinstance(parts, list) or not all(isinstance(part, (str, Mapping)) for part in parts):
        raise TypeError(content)
    texts = [part if isinstance(part, str) else part.get("text") for part in parts if not _is_thought(part)]
    return valid("".join(text for text in texts if isinstance(text, str)))


def _is_thought(part: str | Mapping[str, Any]) -> bool:
    return isinstance(part, Mapping) and part.get("type", "text") not in ("text", "output_text")


def _thoughts_of(message: Mapping[str, Any]) -> str:
    """Return the reasoning that a server returns separately from the answer."""
    found = (message.get(name) for name in ("reasoning_content", "reasoning", "thinking"))
    return next((thoughts for thoughts in found if thoughts and isinstance(thoughts, str)), "")


def _failed(choice: Mapping[str, Any], content: str, thoughts: str) -> Failure | None:
    """Return the failure that the server reports, if any."""
    refusal = choice["message"].get("refusal")
    if refusal:
        return Failure("refused", shorten(str(refusal)))
    finish = str(choice.get("finish_reason") or "").lower()
    reason = FINISHES.get(finish.partition(":")[0])
    if reason == "refused":
        return Failure(reason, f"by the server's content filter ({finish})")
    if reason == "cut off":
        after = f"after {shorten(content[-80:])}" if content else f"during reasoning, after {thoughts[-80:]}"
        return Failure(reason, shorten(f"at the token limit, {after}"))
    return (
        Failure(reason, shorten(f"{finish} {read_error(choice.get('error')).message}".strip()))
        if reason
        else None
    )


def _judged(content: str, thoughts: str, asked: Asked, prompt: str) -> str | Failure:
    is_prose = asked.node_type != JUDGE
    text = unwrap(content, prose=is_prose)
    if not text and (thoughts or content.strip()):
        return Failure("empty", shorten(f"only reasoning, which ends with {(thoughts or content)[-80:]}"))
    rejected = rejection(Candidate(text, asked.max_words, prompt), prose=is_prose)
    return Failure(rejected[0], shorten(rejected[1])) if rejected else text
