"""Lines of batch files: requests in OpenAI's batch format, and the answers to them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.llm.answers import Completion, read_completion
from spike_dgl.profiles.llm.client import ClientOptions, body
from spike_dgl.profiles.llm.estimate import Budget
from spike_dgl.profiles.llm.failures import Failure, read_error
from spike_dgl.profiles.llm.remedies import refuses_all
from spike_dgl.profiles.llm.requests import Asked, Request
from spike_dgl.profiles.llm.server_errors import ServerError, meaning_of, read_server_error
from spike_dgl.profiles.llm.store import Store

ENDPOINT: Final = "/v1/chat/completions"
Row: TypeAlias = tuple[Asked, Completion, float | None]
"""A request, its completion, and its cost in US dollars; None if the price is unknown."""


def request_line(request: Request, client: ClientOptions) -> bytes:
    """Return a request as a line of a batch file; its ``custom_id`` is `Request.key`."""
    line = {"custom_id": request.key, "method": "POST", "url": ENDPOINT, "body": body(request, client)}
    return json.dumps(line).encode() + b"\n"


def read_line(line: bytes) -> tuple[str, Any] | None:
    """Return the key of an answer, and the body of its completion or a `ServerError`; None if the line is neither.

    OpenAI, vLLM's ``run-batch`` and most providers write ``response`` and ``error``. Rows of Ray Data have the text in
    ``generated_text``.
    """
    try:
        content = json.loads(line)
        key, response, error = content["custom_id"], content.get("response") or {}, content.get("error")
        status = int(response.get("status_code") or 0)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None  # its request is missing then, and asked again
    if not isinstance(key, str):
        return None
    if "generated_text" in content and not error:
        return key, _body_of_row(content)
    if error:
        return key, ServerError(status or 500, read_error(error))
    body = response.get("body") or {}
    return key, read_server_error(status, {}, json.dumps(body).encode(), body) or body


def _body_of_row(row: Mapping[str, Any]) -> Any:
    """The row of a batch engine as the body of a chat completion."""
    counts = (row.get("num_input_tokens"), row.get("num_generated_tokens"))
    usage = dict(zip(("prompt_tokens", "completion_tokens"), counts, strict=True))
    choice = {
        "message": {"content": row["generated_text"]},
        "finish_reason": row.get("finish_reason") or "stop",
    }
    return {"choices": [choice], "model": row.get("model"), "usage": None if None in counts else usage}


def read_answer(
    line: Any, asked: Asked, request: Request | None, client: ClientOptions, ended: str
) -> Completion | LanguageModelError:
    """Return the completion of a request, or the error if it is one of the settings.

    Parameters
    ----------
    line
        Second value of `read_line`; None if the request has no line.
    asked
        The request.
    request
        The same with its prompt, without which the text is not compared with its node; None if it is unknown.
    client
        The server's options.
    ended
        Reason to record for a request without a line.
    """
    if line is None:
        return Completion(Failure("expired", ended))
    if not isinstance(line, ServerError):
        prompt = request.prompt if request else ""
        return read_completion(json.dumps(line), asked, prompt, client.api_key_variable)
    if line.said.code in ("batch_expired", "batch_cancelled"):
        return Completion(Failure("expired", line.said.message))
    sent = body(request, client) if request else {"model": asked.model}
    problem = meaning_of(line, client, sent)
    return Completion(problem) if isinstance(problem, Failure) else problem


def sort_answers(
    found: Sequence[tuple[Asked, Completion | LanguageModelError]],
    store: Store,
    client: ClientOptions,
    budget: Budget,
) -> tuple[list[Row], LanguageModelError | None]:
    """Return the rows to store with their costs, and the error of the settings, if there is one.

    If all requests were refused for one reason, and none had failed before, that is an error of the settings and no
    row is stored.
    """
    mistake = next((each for _, each in found if isinstance(each, LanguageModelError)), None)
    if mistake is None and not store.rejections(asked.key for asked, _ in found):
        completions = [each.result for _, each in found if isinstance(each, Completion)]
        if (mistake := refuses_all(completions, client)) is not None:
            return [], mistake
    rows: list[Row] = []
    for asked, completion in found:
        if isinstance(completion, Completion):
            price = budget.prices.price(asked.model, client.is_local)
            sizes = completion.prompt_tokens, completion.completion_tokens
            rows.append((asked, completion, price.cost(*sizes, batch=True) if price else None))
    return rows, mistake
