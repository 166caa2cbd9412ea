"""Classification of server errors: retry, failure of one request, or wrong settings, which end the run.

The first of `RULES` that applies decides. Rules use the status and the message, since many servers answer 400, and some
200, for all errors.
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
"""Maximum Retry-After in seconds for which a run waits. All versions of the openai package respect it up to 60 s."""


@dataclass(frozen=True)
class ServerError:
    """An error response.

    Parameters
    ----------
    status
        HTTP status, or the status that an error inside a response with status 200 names.
    said
        Message and code.
    wait
        Seconds to wait as requested by the server; 0 if it does not say.
    is_page
        True for a web page.
    """

    status: int
    said: ErrorBody
    wait: float = 0.0
    is_page: bool = False


OPTIONAL = ("temperature", "top_p", "seed", "reasoning_effort", "dimensions", "encoding_format")
"""Parameters that are not sent if their setting is null."""

Remedy = Callable[[ServerError, ClientOptions, Mapping[str, Any]], str | None]
"""Function that returns how to correct the settings, or None if the rule does not apply after all."""


@dataclass(frozen=True)
class Rule:
    """Rule that recognizes a kind of error by status and message.

    Parameters
    ----------
    meaning
        Reason of a failure, or the remedy for wrong settings.
    statuses
        HTTP statuses to which the rule applies; empty for all.
    words
        Regular expression to find in message or code; empty for all.
    """

    meaning: Rejection | Mishap | Remedy
    statuses: range | tuple[int, ...] = ()
    words: str = ""

    def fits(self, error: ServerError) -> bool:
        """Return whether status and message of an error match."""
        said = f"{error.said.message} {error.said.code}"
        by_status = not self.statuses or error.status in self.statuses
        return by_status and (not self.words or re.search(self.words, said, re.IGNORECASE) is not None)


def _account(*_: object) -> str:
    return "The account has no credit left: add credit, then run the same command again."


def _daily_limit(*_: object) -> str:
    return "The daily limit is reached: run the same command again tomorrow."


def _key(_: ServerError, options: ClientOptions, __: object) -> str:
    if options.api_key_variable is None:
        return f"The server requires a key: {options.setting('api_key_variable')}=NAME_OF_A_VARIABLE"
    return f"The key is wrong: correct the environment variable {options.api_key_variable}."


def _proxy(_: ServerError, options: ClientOptions, __: object) -> str:
    return f"The proxy requires a user name and a password: {proxy_variable(options)}=http://NAME:PASSWORD@HOST:PORT"


def _model(_: ServerError, options: ClientOptions, sent: Mapping[str, Any]) -> str:
    return f"Check the model: {options.request_setting('model')} is '{sent.get('model', '')}'."


def _address(error: ServerError, options: ClientOptions, sent: Mapping[str, Any]) -> str:
    setting, address = options.setting("base_url"), options.address.rstrip("/")
    if ".azure." in address and "/openai" not in address:
        return f"Azure's addresses end with /openai: {setting}={address}/openai"
    if ".azure." in address and options.api_version is None and not address.endswith("/v1"):
        return _azure(error, options, sent)
    if not sent:
        return f"The server has no Batch API at this address: leave out --batch, or correct {setting}."
    if not re.search(r"/v\d|/openai", urlsplit(address).path):
        return f"Most addresses end with /v1: {setting}={address}/v1"
    model = f", and the model '{sent['model']}'" if error.status == 404 and not error.is_page else ""
    return f"Check the address: {setting}{model}."


def _azure(_: ServerError, options: ClientOptions, __: object) -> str:
    return f"Azure requires an API version: {options.setting('api_version')}=2024-10-21"


def _reasoning(_: ServerError, options: ClientOptions, __: object) -> str:
    return f"Switch off the model's reasoning: {options.request_setting('extra_body')}={{enable_thinking: false}}"


def _no_system_message(_: ServerError, options: ClientOptions, __: object) -> str:
    return f"The model does not support system messages: {options.setting('system_role')}=user"


def _shorter_answer(_: ServerError, options: ClientOptions, __: object) -> str:
    return f"The model does not allow answers of this length: lower {options.request_setting('max_tokens')}."


def _parameter(error: ServerError, options: ClientOptions, sent: Mapping[str, Any]) -> str | None:
    """Return a remedy that names the setting of a parameter that the server rejects."""
    names = [name for name in sent if name not in ("model", "messages", "input")]
    blamed = error.said.parameter if error.said.parameter in names else ""
    named = [name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", error.said.message)]
    # If a message recommends another name, the rejected one comes first.
    named.sort(key=lambda name: error.said.message.index(name))
    parameter = blamed or next(iter(named), "")
    if parameter in ("max_tokens", "max_completion_tokens"):
        other = "max_tokens" if parameter == "max_completion_tokens" else "max_completion_tokens"
        return f"The server uses another name for the limit: {options.setting('token_limit')}={other}"
    if parameter in OPTIONAL:
        return f"Do not send the parameter: {options.request_setting(parameter)}=null"
    if parameter:
        return f"Correct {options.request_setting('extra_body')}: '{parameter}'."
    if error.said.code in ("unsupported_parameter", "unsupported_value"):
        return f"Set the parameter to null, or correct {options.request_setting('extra_body')}."
    return None


def _not_allowed(_: ServerError, options: ClientOptions, __: object) -> str:
    key = f"the key in {options.api_key_variable}" if options.api_key_variable else "a client without a key"
    return f"The server does not serve this region or network, or {key} lacks permission."


RULES = (
    Rule(_account, (402,)),
    Rule(
        _account,
        words=r"insufficient_quota|insufficient (?:balance|credit|funds)|credit balance|billing_not_active"
        r"|billing hard limit|budget[ _](?:has been )?exceeded|余额不足|欠费",
    ),
    Rule(_daily_limit, (429,), r"per[ _-]?day|daily|\((?:R|T)PD\)"),
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
    Rule(_reasoning, (400,), r"enable_thinking (?:must|必须)"),
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
"""Rules in order: errors of one prompt before errors of a parameter or a model."""


def meaning_of(
    error: ServerError, options: ClientOptions, sent: Mapping[str, Any]
) -> Failure | LanguageModelError:
    """Classify an error by the first of `RULES` that applies.

    Parameters
    ----------
    error
        Error response.
    options
        Settings of the connection, which a remedy names.
    sent
        Body of the request; empty for files and batches.
    """
    said = f"{error.status}: {words_of(error, options)}"
    where = f"{options.address} returned {said}"
    for rule in filter(lambda rule: rule.fits(error), RULES):
        if not callable(rule.meaning):
            if rule.meaning in ("rate limited", "server error") and error.wait > LONGEST_WAIT:
                return LanguageModelError(
                    f"{where}\n  Run the same command again after {error.wait:g} s, as the server requests."
                )
            return Failure(rule.meaning, said)
        remedy = rule.meaning(error, options, sent)
        if remedy is not None:
            return LanguageModelError(f"{where}\n  {remedy}")
    raise AssertionError("the last rule applies to all errors")


def words_of(error: ServerError, options: ClientOptions) -> str:
    """Return the server's message, shortened and without secrets."""
    said = error.said.message or error.said.code
    return shorten(without_secrets("a web page" if error.is_page else said, options.api_key_variable))


def is_worth_a_retry(meaning: Failure | LanguageModelError) -> bool:
    """Return whether a retry may help."""
    return isinstance(meaning, Failure) and meaning.reason in ("rate limited", "server error")


def read_server_error(
    status: int, headers: Mapping[str, str], content: bytes, body: Any
) -> ServerError | None:
    """Read the error in a response; return None if it is an answer.

    Parameters
    ----------
    status, headers, content
        Parts of the HTTP response.
    body
        Content parsed as JSON; None if it is not JSON.
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
    """Return the error in a response with status 200: in the body, or in the first choice if no usage is reported."""
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
    """Return the seconds to wait from the headers, or from Gemini's body."""
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
