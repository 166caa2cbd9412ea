"""Connection settings of a language model server, and the JSON body of a request."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.errors import ConfigError
from spike_dgl.profiles.llm.addresses import BASE_URL_VARIABLE, OPENAI, check_address, is_private

if TYPE_CHECKING:
    from spike_dgl.profiles.llm.requests import Request


@dataclass(frozen=True, config=STRICT)
class ClientOptions:
    """Connection to a language model server, its limits and retries. None of it changes an answer.

    Parameters
    ----------
    base_url
        Base URL of a server with an OpenAI-compatible API, such as ``http://localhost:11434/v1`` for Ollama or
        ``http://localhost:8000/v1`` for vLLM. None reads the environment variable OPENAI_BASE_URL, and uses OpenAI if
        it is not set.
    api_key_variable
        Environment variable with the API key. It may be unset for a server on this machine or in a private network.
        Null for other servers without a key.
    api_version
        Azure's API version, such as ``2024-10-21``, for addresses that end with ``/openai``; null for other servers.
    concurrency
        Maximum number of simultaneous requests.
    requests_per_minute, tokens_per_minute
        Rate limits of your account; None for no limit. As OpenAI counts them, the tokens of a request are the
        estimated prompt tokens plus `max_tokens`.
    timeout
        Seconds after which an attempt has failed.
    max_retries
        Maximum number of retries when the server is overloaded, fails or cannot be reached. The waiting time grows
        from 0.5 s to 8 s unless the server sends a Retry-After header.
    token_limit
        Name of the request parameter that limits the answer's tokens. Newer OpenAI models require
        ``max_completion_tokens``; most other servers support ``max_tokens`` only.
    system_role
        Role of the system message. ``user`` sends system message and prompt as one message, for models whose chat
        template has no system message, such as Gemma.
    batch_requests
        Maximum number of requests queued with the Batch API, for accounts with a limit on queued tokens.
    attempts
        Number of rejected answers, over all runs, after which a request is not sent again.
    stop_after
        Number of consecutive failures of any kind that end a run.
    """

    section: ClassVar[str] = "profiles.llm.client"
    """Dotted name of these settings in messages."""

    base_url: str | None = None
    api_key_variable: str | None = Field(default="OPENAI_API_KEY", min_length=1)
    api_version: str | None = Field(default=None, min_length=1)
    concurrency: int = Field(default=16, ge=1, le=1000)
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    timeout: float = Field(default=120.0, gt=0)
    max_retries: int = Field(default=6, ge=0)
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    system_role: Literal["system", "developer", "user"] = "system"
    batch_requests: int = Field(default=50_000, ge=1, le=50_000)
    attempts: int = Field(default=3, ge=1)
    stop_after: int = Field(default=20, ge=1)

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str | None) -> str | None:
        return None if value is None else check_address(f"{cls.section}.base_url", value)

    @field_validator("api_key_variable")
    @classmethod
    def _check_key_variable(cls, value: str | None) -> str | None:
        return check_variable(f"{cls.section}.api_key_variable", value)

    @property
    def address(self) -> str:
        """Base URL in use. Raises `ConfigError` if the environment's is not a URL or contains a secret."""
        from_environment = os.environ.get(BASE_URL_VARIABLE, "").strip()
        if self.base_url is None and from_environment:
            return check_address(BASE_URL_VARIABLE, from_environment)
        return self.base_url or OPENAI

    @property
    def is_local(self) -> bool:
        """True if the address is on this machine or in a private network."""
        return is_private(self.address)

    def setting(self, name: str) -> str:
        """Return the dotted name of a connection setting, or OPENAI_BASE_URL if the address comes from there."""
        if name == "base_url" and self.base_url is None and os.environ.get(BASE_URL_VARIABLE):
            return BASE_URL_VARIABLE
        return f"{self.section}.{name}"

    def request_setting(self, name: str) -> str:
        """Return the dotted name of a setting of the requests, such as the model."""
        return f"{self.section.removesuffix('.client')}.{name}"


def check_variable(setting: str, value: str | None) -> str | None:
    """Return the name of an environment variable.

    Raises
    ------
    ConfigError
        If `value` cannot be such a name. It may be the key itself, so the message does not show it.
    """
    if value is not None and not re.fullmatch(r"[A-Za-z_]\w*", value, re.ASCII):
        raise ConfigError(
            f"{setting} must be the name of an environment variable, not a key\n"
            f"  export MY_KEY=... and set {setting}=MY_KEY"
        )
    return value


def read_key(options: ClientOptions) -> str:
    """Read the API key from the environment; return a placeholder for servers without a key.

    Raises
    ------
    ConfigError
        If a key is required but not set, or contains characters that no key has.
    """
    name = options.api_key_variable
    key = os.environ.get(name, "").strip() if name else ""
    if not key and (name is None or options.is_local):
        return "no-key"
    if not key:
        raise ConfigError(
            f"no key for {options.address}: set the environment variable {name}\n"
            f"  For a server without a key: {options.setting('api_key_variable')}=null"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{name} contains characters that no key has; set it to the key alone")
    return key


def body(request: Request, options: ClientOptions) -> dict[str, Any]:
    """Return the JSON body of a request."""
    answer = request.options
    optional = {
        "temperature": answer.temperature,
        "top_p": answer.top_p,
        "seed": answer.seed,
        "reasoning_effort": answer.reasoning_effort,
    }
    return {
        "model": answer.model,
        "messages": _messages(request, options),
        options.token_limit: answer.max_tokens,
        **{name: value for name, value in optional.items() if value is not None},
        **(answer.extra_body or {}),
    }


def _messages(request: Request, options: ClientOptions) -> list[dict[str, str]]:
    if options.system_role == "user":
        return [{"role": "user", "content": f"{request.system}\n\n{request.prompt}"}]
    return [
        {"role": options.system_role, "content": request.system},
        {"role": "user", "content": request.prompt},
    ]
