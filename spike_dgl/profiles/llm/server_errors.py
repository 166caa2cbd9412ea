"""Meaning of a server's error: try again, this request failed, or the set-up is wrong, which ends the run.

`RULES`, of which the first that applies decides, judge by status and by the server's words: many servers answer 400 for
everything, and some 200.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.llm.addresses import without_secrets
from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.failures import ErrorBody, Failure, Mishap, Rejection, read_error, shorten
from spike_dgl.profiles.llm.proxies import proxy_variable

LONGEST_WAIT = 60.0
"""Seconds of Retry-After for which a run waits. All versions of the openai package keep to so much."""


@dataclass(frozen=True)
class ServerError:
    """A reply that is no answer.

    Parameters
    ----------
    status
        Of HTTP, or the one that an error inside a reply of status 200 names.
    said
        Message and code.
    wait
        Seconds that the server asks to wait; 0 where it does not say.
    is_page
        True for a web page.
    """

    status: int
    said: ErrorBody
    wait: float = 0.0
    is_page: bool = False


OPTIONAL = ("temperature", "top_p", "seed", "reasoning_effort", "dimensions", "encoding_format")
"""Parameters that a setting of null leaves out."""

Remedy = Callable[[ServerError, ClientOptions, Mapping[str, Any]], str | None]
"""How to correct a set-up; None where the rule does not apply after all."""


@dataclass(frozen=True)
class Rule:
    """Statuses and words that show a meaning.

    Parameters
    ----------
    meaning
        A reason, or what to correct.
    statuses
        Of which it holds; all where it is empty.
    words
        Regular expression that message or code match; any where it is empty.
    """

    meaning: Rejection | Mishap | Remedy
    statuses: range | tuple[int, ...] = ()
    words: str = ""

    def fits(self, error: ServerError) -> bool:
        """Whether an error is of this kind, by what it looks like."""
        said = f"{error.said.message} {error.said.code}"
        by_status = not self.statuses or error.status in self.statuses
        return by_status and (not self.words or re.search(self.words, said, re.IGNORECASE) is not None)


def _account(*_: object) -> str:
    return "The account is used up: add credit, then run the same command again."


def _limit_a_day(*_: object) -> str:
    return "The limit of a day is reached: run the same command again tomorrow."


def _key(_: ServerError, options: ClientOptions, __: object) -> str:
    if options.api_key_variable is None:
        return f"The server wants a key: {options.setting('api_key_variable')}=NAME_OF_A_VARIABLE"
    return f"The key is wrong: correct the environment variable {options.api_key_variable}."


def _proxy(_: ServerError, options: ClientOptions, __: object) -> str:
    return f"The proxy wants a name and a password: {proxy_variable(options)}=http://NAME:PASSWORD@HOST:PORT"


def _model(_: ServerError, options: ClientOptions, sent: Mapping[str, Any]) -> str:
    return f"Check the model: {options.request_setting('model')}, now '{sent.get('model', '')}'."


def _address(error: ServerError, options: ClientOptions, sent: Mapping[str, Any]) -> str:
    setting, address = options.setting("base_url"), options.address.rstrip("/")
    if ".azure." in address and "/openai" not in address:
        return f"Azure's addresses go on: {setting}={address}/openai"
    if ".azure." in address and options.api_version is None and not address.endswith("/v1"):
        return _azure(error, options, sent)
    if not sent:
        return f"This server has no Batch API, or another address: leave out --batch, or correct {setting}."
    if not re.search(r"/v\d|/openai", urlsplit(address).path):
        return f"Most addresses end with /v1: {setting}={address}/v1"
    model = f", and the model '{sent['model']}'" if error.status == 404 and not error.is_page else ""
    return f"Check the address: {setting}{model}."


def _azure(_: ServerError, options: ClientOptions, __: object) -> str:
    return f"Azure wants the version of its API: {options.setting('api_version')}=2024-10-21"


def _thinking(_: ServerError, options: ClientOptions, __: object) -> str:
    return (
        f"Switch off the model's thinking: {options.request_setting('extra_body')}={{enable_thinking: false}}"
    )


def _no_system_message(_: ServerError, options: ClientOptions, __: object) -> str:
    return f"The model knows no system message: {options.setting('system_role')}=user"


def _shorter_answer(_: ServerError, options: ClientOptions, __: object) -> str:
    return f"The model cannot write that much: lower {options.request_setting('max_tokens')}."


def _parameter(error: ServerError, options: ClientOptions, sent: Mapping[str, Any]) -> str | None:
    """Name the setting of a parameter that the server does not take."""
    names = [name for name in sent if name not in ("model", "messages", "input")]
    blamed = error.said.parameter if error.said.parameter in names else ""
    named = [name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", error.said.message)]
    # Where a message recommends another name, the one at fault comes first.
    named.sort(key=lambda name: error.said.message.index(name))
    parameter = blamed or next(iter(named), "")
    if parameter in ("max_tokens", "max_completion_tokens"):
        other = "max_tokens" if parameter == "max_completion_tokens" else "max_completion_tokens"
        return f"The server wants another name of the limit: {options.setting('token_limit')}={other}"
    if parameter in OPTIONAL:
        return f"Leave it to the server: {options.request_setting(parameter)}=null"
    if parameter:
        return f"Correct {options.request_setting('extra_body')}: '{parameter}'."
    if error.said.code in ("unsupported_parameter", "unsupported_value"):
        return f"Leave the parameter to the server, or correct {options.request_setting('extra_body')}."
    return None


def _not_allowed(_: ServerError, options: ClientOptions, __: object) -> str:
    key = f"the key in {options.api_key_variable}" if options.api_key_variable else "whoever has no key"
    return f"Either the server takes nobody from this region or network, or {key} has no right to this."


RULES = (
    Rule(_account, (402,)),
    Rule(
        _account,
        words=r"insufficient_quota|insufficient (?:balance|credit|funds)|credit balance|billing_not_active"
        r"|billing hard limit|budget[ _](?:has been )?exceeded|余额不足|欠费",
    ),
    Rule(_limit_a_day, (429,), r"per[ _-]?day|daily|\((?:R|T)PD\)"),
    Rule(_key, (401,)),
    Rule(_key, (400, 403), r"api[ _-]?key|invalid x-api-key|authentication"),
    Rule(_proxy, (407,)),
    Rule(
        "refused",
        range(400, 500),
        r"content[ _-]?(?:filter|policy|management)|responsibleai|moderation|\bflagged\b|data_?inspection|inappropriate"
        r"|prohibited|sensitive (?:content|words)|敏感",
    ),
    Rule(
        _shorter_answer,
        (400, 422),
        r"completion tokens, whereas|max_tokens.{0,40}(?:less than|maximum allowed)",
    ),
    Rule(
        "prompt too long",
        (400, 413, 422, 424, 500),
        r"context[ _](?:length|size|window)|exceed_context|maximum context|too many (?:input )?tokens|reduce the length"
        r"|(?:prompt|input|request|text|content)s? (?:is|are|was|were)? ?too (?:long|large)|input length|inputs` tokens"
        r"|tokens[ _]per[ _]request|batch size|too_long|must have less than|above_max|physical batch"
        r"|at most \d+ (?:requests|texts|inputs|items)|larger than \d+",
    ),
    Rule("prompt too long", (413, 429), r"request too large|payload too large"),
    Rule(_address, words=r"unexpected endpoint|plain HTTP request was sent to HTTPS"),
    Rule(_azure, (400, 404), r"api[- ]?version"),
    Rule(
        _not_allowed,
        (400, 403),
        r"(?:location|country|region|territory).{0,40}not supported|unsupported_country",
    ),
    Rule(
        _no_system_message,
        (400, 422, 500),
        r"system (?:role|message|prompt|instruction)s?\b.{0,40}not|developer instruction|roles must alternate"
        r"|only user.{0,20}roles",
    ),
    Rule(_thinking, (400,), r"enable_thinking (?:must|必须)"),
    Rule(_parameter, (400, 422)),
    Rule(
        _model,
        (400, 403, 404, 422),
        r"model.{0,90}(?:not (?:exist|found|available|supported|allowed|a valid)|n't exist|is unknown|invalid)"
        r"|(?:unknown|invalid|no such|unsupported|access to|find(?: the)?) model|not a valid model|model_not_found"
        r"|deploymentnotfound|deployment.{0,60}not exist|try pulling|no endpoints found|模型不存在",
    ),
    Rule(_model, (500,), r"model.{0,60}not found|(?:could not (?:find|load)|unknown|no such) model"),
    Rule(_address, (404, 405, 501)),
    Rule(_not_allowed, (403, 451)),
    Rule("rate limited", (429,)),
    Rule("server error", (408, 409, 424, 425, 499, *range(500, 600))),
    Rule("invalid"),
)
"""Rules in order: what a server says of one prompt comes before what it says of a parameter or a model."""


def meaning_of(
    error: ServerError, options: ClientOptions, sent: Mapping[str, Any]
) -> Failure | LanguageModelError:
    """Judge an error by the first of `RULES` that applies.

    Parameters
    ----------
    error
        The server's reply.
    options
        The connection, whose settings a remedy names.
    sent
        Body of the request; empty for files and batches.
    """
    said = f"{error.status}: {words_of(error, options)}"
    where = f"{options.address} answers {said}"
    for rule in filter(lambda rule: rule.fits(error), RULES):
        if not callable(rule.meaning):
            if rule.meaning in ("rate limited", "server error") and error.wait > LONGEST_WAIT:
                return LanguageModelError(
                    f"{where}\n  The server asks to wait {error.wait:g} s: run the same command again then."
                )
            return Failure(rule.meaning, said)
        remedy = rule.meaning(error, options, sent)
        if remedy is not None:
            return LanguageModelError(f"{where}\n  {remedy}")
    raise AssertionError("the last rule applies to all errors")


def words_of(error: ServerError, options: ClientOptions) -> str:
    """The server's own words, shortened, without secrets."""
    said = error.said.message or error.said.code
    return shorten(without_secrets("a web page" if error.is_page else said, options.api_key_variable))


def is_worth_a_retry(meaning: Failure | LanguageModelError) -> bool:
    """Whether waiting may help."""
    return isinstance(meaning, Failure) and meaning.reason in ("rate limited", "server error")


def read_server_error(
    status: int, headers: Mapping[str, str], content: bytes, body: Any
) -> ServerError | None:
    """Read a reply; None for one that is an answer.

    Parameters
    ----------
    status, headers, content
        Of HTTP.
    body
        The content read as JSON; None where it is none.
    """
    is_page = content.lstrip()[:1] == b"<"
    inside = _error_inside(body)
    if status < 400 and not is_page and inside is None:
        return None
    said = read_error(body if inside is None else inside)
    if body is None:
        said = ErrorBody(content.decode("utf-8", "replace"))
    if status < 400:
        status = 404 if is_page else _status_of(said)
    return ServerError(status, said, _wait(headers, content), is_page)


def _error_inside(body: Any) -> Any:
    """The error in a reply of status 200: in the place of an answer, or of the only choice, where it was not paid."""
    if not isinstance(body, Mapping):
        return None
    choices = body.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        return None if body.get("usage") else choices[0].get("error") or None
    return body.get("error") or None


def _status_of(said: ErrorBody) -> int:
    if said.code.isascii() and said.code.isdigit() and 400 <= int(said.code) < 600:
        return int(said.code)
    return 404 if "unexpected endpoint" in said.message.lower() else 500


def _wait(headers: Mapping[str, str], content: bytes) -> float:
    """Seconds that headers, or Gemini's body, ask to wait."""
    value = headers.get("retry-after", "")
    in_body = re.search(rb'"retryDelay":\s*"([\d.]+)s"', content)
    if not value and in_body:
        value = in_body[1].decode()
    try:
        return max(float(value or 0), 0.0)
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
        return max((moment - parsedate_to_datetime(headers.get("date", value))).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return 0.0
