"""The connection to a server of language models: address, key, limits, and what its errors mean."""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.errors import ConfigError, LanguageModelError
from spike_dgl.profiles.llm.answers import Failure, read_error, shorten
from spike_dgl.profiles.llm.pace import Pace

# Importing openai takes most of a second; commands that send nothing do without.
if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

    from spike_dgl.profiles.llm.requests import Request

OPENAI = "https://api.openai.com/v1"
LONGEST_WAIT = 60.0
"""Seconds of Retry-After for which a run waits. All versions of the openai package keep to so much."""

_REFUSED_PARAMETER = (
    "Models differ in what they take. One of these mends it: token_limit: max_completion_tokens, temperature: null, "
    "seed: null."
)


def check_address(setting: str, base_url: str | None) -> str | None:
    """The same address, or None, if nothing but a place is in it.

    Raises
    ------
    ValueError
        For what is no address.
    ConfigError
        If it holds a secret; `setting` is named instead.
    """
    parts = urlsplit(base_url or OPENAI)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query:
        # Not a ValueError: pydantic would quote the address in its message.
        raise ConfigError(f"{setting} must hold no name, password or query: run folders and messages show it")
    return base_url


@dataclass(frozen=True, config=STRICT)
class ClientOptions:
    """Where requests go, and how fast. None of it changes an answer.

    Parameters
    ----------
    base_url
        Of any server that speaks OpenAI's protocol, such as ``http://localhost:11434/v1`` for Ollama or
        ``http://localhost:8000/v1`` for vLLM. None takes the environment variable OPENAI_BASE_URL, or else OpenAI.
    api_key_variable
        Environment variable that holds the key. A local server needs none.
    concurrency
        Requests under way at the same time.
    requests_per_minute, tokens_per_minute
        Limits of your account; None for no limit. Tokens are those of the prompt, estimated, and as many as the
        answer may have, which is how OpenAI counts.
    timeout
        Seconds until an attempt counts as failed.
    max_retries
        Attempts after the first when a server is busy, in trouble or not reached. Waits grow from half a second to
        8 s, or are what the server's Retry-After says.
    token_limit
        Name under which the server wants the limit of an answer. Newer models of OpenAI want
        ``max_completion_tokens``, most other servers know ``max_tokens`` only.
    attempts
        After so many rejected answers, counted over all runs, a request is left alone.
    stop_after
        Failures in a row, of whatever kind, that end a run.
    """

    base_url: str | None = None
    api_key_variable: str = Field(default="OPENAI_API_KEY", min_length=1)
    concurrency: int = Field(default=16, ge=1, le=1000)
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    timeout: float = Field(default=120.0, gt=0)
    max_retries: int = Field(default=6, ge=0)
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    attempts: int = Field(default=3, ge=1)
    stop_after: int = Field(default=20, ge=1)

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str | None) -> str | None:
        return check_address("client.base_url", value)

    @property
    def address(self) -> str:
        """The base URL that is used."""
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI

    @property
    def is_local(self) -> bool:
        """True where the address is on this machine or a private network."""
        host = urlsplit(self.address).hostname or ""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host == "localhost" or host.endswith((".localhost", ".local"))
        return address.is_private or address.is_loopback


def read_key(options: ClientOptions) -> str:
    """The key from the environment; a stand-in for local servers.

    Raises
    ------
    ConfigError
        If there is none and the server is not local, or it cannot be one.
    """
    name = options.api_key_variable
    key = os.environ.get(name, "").strip()
    if not key and options.is_local:
        return "no-key"
    if not key:
        raise ConfigError(f"no key for {options.address}: set the environment variable {name}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{name} holds characters that no key has; set it to the key alone")
    return key


def connect(options: ClientOptions, pace: Pace) -> AsyncOpenAI:
    """A client whose own retries are the only ones.

    A retry takes its turn in `pace` like any request; a Retry-After holds up all of them.
    """
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    async def leave(request: Any) -> None:
        if request.headers.get("x-stainless-retry-count", "0") != "0":
            await pace.wait()

    async def look(response: Any) -> None:
        if response.status_code != 429:
            return
        await response.aread()
        if _is_quota(response.text):
            response.headers["x-should-retry"] = "false"  # no waiting mends it
        elif 0 < (seconds := retry_after(response.headers)) <= LONGEST_WAIT:
            pace.pause(seconds)

    return AsyncOpenAI(
        base_url=options.address,
        api_key=read_key(options),
        max_retries=options.max_retries,
        timeout=options.timeout,
        http_client=DefaultAsyncHttpxClient(event_hooks={"request": [leave], "response": [look]}),
    )


def _is_quota(text: str) -> bool:
    return "insufficient_quota" in text


def retry_after(headers: Any) -> float:
    """Seconds that a response asks to wait; 0 where it does not say, or names a date."""
    try:
        return float(headers.get("retry-after", 0))
    except ValueError:
        return 0.0


def body(request: Request, options: ClientOptions) -> dict[str, Any]:
    """What is sent for a request."""
    answer = request.options
    optional = {"temperature": answer.temperature, "top_p": answer.top_p, "seed": answer.seed}
    return {
        "model": answer.model,
        "messages": [
            {"role": "system", "content": request.system},
            {"role": "user", "content": request.prompt},
        ],
        options.token_limit: answer.max_tokens,
        **{name: value for name, value in optional.items() if value is not None},
    }


def understand(error: Exception, options: ClientOptions, model: str) -> Failure | LanguageModelError:
    """What an exception of the openai client means: a failure of this request, or the end of the run.

    Raises `error` itself where it is a mistake of ours.
    """
    import openai

    if isinstance(error, UnicodeEncodeError):
        return Failure("invalid", "the prompt is not valid Unicode")
    if isinstance(error, openai.APITimeoutError):
        return Failure("timed out", f"no answer within {options.timeout:g} s")
    if isinstance(error, openai.APIConnectionError):
        return Failure("no connection", redact(f"{options.address}: {error.__cause__ or error}", options))
    if isinstance(error, openai.APIStatusError):
        return _understand_status(error, options, model)
    raise error


def _understand_status(
    error: APIStatusError,
    options: ClientOptions,
    model: str,
) -> Failure | LanguageModelError:
    message, code = read_error(error.body)
    said = f"{error.status_code}: {redact(shorten(message or error.response.text), options)}"
    where = f"{options.address} answers {said}"
    status = error.status_code
    if status == 401:
        return LanguageModelError(
            f"{where}\n  The key is wrong: correct the environment variable {options.api_key_variable}."
        )
    if status == 404:
        return LanguageModelError(f"{where}\n  Check the model '{model}' and the address: most end with /v1.")
    if status == 402 or _is_quota(code or message):
        return LanguageModelError(
            f"{where}\n  The account is used up: add credit, then run the same command again."
        )
    if code in ("unsupported_parameter", "unsupported_value"):
        return LanguageModelError(f"{where}\n  {_REFUSED_PARAMETER}")
    if status == 429 and (seconds := retry_after(error.response.headers)) > LONGEST_WAIT:
        return LanguageModelError(
            f"{where}\n  The server asks to wait {seconds:g} s: run the same command again then."
        )
    if status == 429:
        return Failure("rate limited", said)
    if status >= 500 or status in (408, 409):
        return Failure("server error", said)
    return Failure("refused" if code == "content_filter" else "invalid", said)


def redact(text: str, options: ClientOptions) -> str:
    """Text in which the key, should a server have echoed it, is blacked out."""
    key = os.environ.get(options.api_key_variable, "").strip()
    return text.replace(key, "[key]") if key else text
