"""Connections to a language model server. All retries are those of the openai package."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.llm.addresses import without_secrets
from spike_dgl.profiles.llm.client import ClientOptions, read_key
from spike_dgl.profiles.llm.failures import Failure, Mishap, shorten
from spike_dgl.profiles.llm.pace import Pace
from spike_dgl.profiles.llm.proxies import certificates, check_proxies, proxy_variable, takes_proxy
from spike_dgl.profiles.llm.server_errors import (
    LONGEST_WAIT,
    ServerError,
    is_worth_a_retry,
    meaning_of,
    read_server_error,
)

# Importing openai takes most of a second, which commands that send nothing should not wait for.
if TYPE_CHECKING:
    from openai import AsyncOpenAI


def connect(options: ClientOptions, pace: Pace, on_retry: Callable[[str], None] | None = None) -> AsyncOpenAI:
    """Open a client, which does all retries itself.

    An error inside a response with status 200 gets the status that it names, and is then handled like other errors.

    Parameters
    ----------
    options
        Settings of the connection.
    pace
        Rate limit for retries. A Retry-After header pauses all requests. After `Pace.close`, there are no retries.
    on_retry
        Called before each retry with its reason.

    Raises
    ------
    ConfigError
        If there is no key, or a proxy or certificates in the environment cannot be used.
    """
    from openai import AsyncAzureOpenAI, AsyncOpenAI

    hooks = _Hooks(options, pace, on_retry)
    shared: dict[str, Any] = {
        "base_url": options.address,
        "api_key": read_key(options),
        "max_retries": options.max_retries,
        "timeout": options.timeout,
        "http_client": _http_client(options, {"request": [hooks.leave], "response": [hooks.arrive]}),
    }
    if options.api_version is not None:
        return AsyncAzureOpenAI(api_version=options.api_version, **shared)
    return AsyncOpenAI(**shared)


class _Hooks:
    """Hooks for each request before it is sent, and for each response before the openai package gets it."""

    def __init__(self, options: ClientOptions, pace: Pace, on_retry: Callable[[str], None] | None) -> None:
        self._options, self._pace, self._on_retry = options, pace, on_retry
        self._left: dict[asyncio.Task[Any] | None, float] = {}
        self._reasons: dict[asyncio.Task[Any] | None, str] = {}

    async def leave(self, request: Any) -> None:
        task = asyncio.current_task()
        reason = self._reasons.pop(task, "")
        if request.headers.get("x-stainless-retry-count", "0") != "0":
            if self._on_retry is not None:
                self._on_retry(reason or self._without_response(task))
            await self._pace.wait()
            if self._pace.is_closed:
                from openai import APIConnectionError

                raise APIConnectionError(message="the run has stopped", request=request)
        self._left[task] = time.monotonic()

    def _without_response(self, task: asyncio.Task[Any] | None) -> Mishap:
        took = time.monotonic() - self._left.get(task, 0.0)
        return "timed out" if took >= self._options.timeout else "no connection"

    async def arrive(self, response: Any) -> None:
        if response.has_redirect_location or response.request.url.path.endswith("/content"):
            return
        error = server_error(response.status_code, response.headers, await response.aread())
        if error is None:
            return
        response.status_code = error.status
        meaning = meaning_of(error, self._options, {})
        may_help = is_worth_a_retry(meaning) and not self._pace.is_closed
        response.headers["x-should-retry"] = str(may_help).lower()
        if isinstance(meaning, Failure):
            self._reasons[asyncio.current_task()] = meaning.reason
        if 0 < error.wait <= LONGEST_WAIT:
            response.headers["retry-after"] = f"{error.wait:g}"
            if error.status == 429:
                self._pace.pause(error.wait)


def server_error(status: int, headers: Mapping[str, str], content: bytes) -> ServerError | None:
    """Read the error in a response; return None if it is an answer."""
    try:
        body = json.loads(content) if status >= 400 or b'"error"' in content else None
    except (ValueError, RecursionError):
        body = None
    return read_server_error(status, headers, content, body)


def understand(
    error: Exception, options: ClientOptions, sent: Mapping[str, Any]
) -> Failure | LanguageModelError:
    """Classify an exception of the openai client: a failure of this request, or an error that ends the run.

    Raises `error` itself if it is a bug of this program.

    Parameters
    ----------
    error
        Exception.
    options
        Settings of the connection.
    sent
        Body of the request; empty for files and batches.
    """
    import openai

    if isinstance(error, UnicodeEncodeError):
        return Failure("invalid", "the prompt is not valid Unicode")
    if isinstance(error, openai.APITimeoutError):
        return Failure("timed out", f"no answer within {options.timeout:g} s")
    if isinstance(error, openai.APIConnectionError):
        cause = without_secrets(str(error.__cause__ or error), options.api_key_variable)
        return Failure("no connection", shorten(f"{options.address}{_by_proxy(options)}: {cause}"))
    if isinstance(error, openai.APIStatusError):
        response = error.response
        reply = server_error(response.status_code, response.headers, response.content)
        assert reply is not None, "the openai package raises this error only for status 400 and above"
        return meaning_of(reply, options, sent)
    if isinstance(error, openai.APIResponseValidationError):
        return Failure("unreadable", shorten(error.response.content))
    raise error


def _by_proxy(options: ClientOptions) -> str:
    variable = proxy_variable(options)
    return f" through the proxy in {variable}" if variable else ""


def _http_client(options: ClientOptions, hooks: Mapping[str, Any]) -> Any:
    """Create an HTTP client with the environment's proxies and certificates; private hosts get no proxy."""
    from openai import DefaultAsyncHttpxClient

    by_proxy = takes_proxy(options)
    if by_proxy:
        check_proxies(options)
    # Loading the default certificates takes longer than a request, so they are loaded only for TLS.
    needs_certificates = by_proxy or options.address.startswith("https")
    verify = certificates() if needs_certificates else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return DefaultAsyncHttpxClient(event_hooks=hooks, trust_env=by_proxy, verify=verify)
