"""Settings of the connection to a server of language models, and the requests it is sent."""

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
    """Where requests go, and how fast. None of it changes an answer.

    Parameters
    ----------
    base_url
        Of any server that speaks OpenAI's protocol, such as ``http://localhost:11434/v1`` for Ollama or
        ``http://localhost:8000/v1`` for vLLM. None takes the environment variable OPENAI_BASE_URL, or else OpenAI.
    api_key_variable
        Environment variable that holds the key. A server on this machine or in a private network needs none; null for
        another one that needs none.
    api_version
        Azure's, such as ``2024-10-21``, for addresses that end with ``/openai``; null for all other servers.
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
    system_role
        Role of the system message; ``user`` puts it before the prompt in one message, for models whose template knows
        no system message, such as Gemma's.
    batch_requests
        Most requests with the Batch API at a time, for accounts that may queue only so many tokens.
    attempts
        After so many rejected answers, counted over all runs, a request is left alone.
    stop_after
        Failures in a row, of whatever kind, that end a run.
    """

    section: ClassVar[str] = "profiles.llm.client"
    """Dotted name of these settings, for messages."""

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
    def _plain_address(cls, value: str | None) -> str | None:
        return None if value is None else check_address(f"{cls.section}.base_url", value)

    @field_validator("api_key_variable")
    @classmethod
    def _name_of_a_variable(cls, value: str | None) -> str | None:
        return check_variable(f"{cls.section}.api_key_variable", value)

    @property
    def address(self) -> str:
        """The base URL that is used. Raises `ConfigError` where that of the environment is none, or holds a secret."""
        from_environment = os.environ.get(BASE_URL_VARIABLE, "").strip()
        if self.base_url is None and from_environment:
            return check_address(BASE_URL_VARIABLE, from_environment)
        return self.base_url or OPENAI

    @property
    def is_local(self) -> bool:
        """True where the address is on this machine or a private network."""
        return is_private(self.address)

    def setting(self, name: str) -> str:
        """Whole name of a setting of the connection; the variable's name where that decides about the address."""
        if name == "base_url" and self.base_url is None and os.environ.get(BASE_URL_VARIABLE):
            return BASE_URL_VARIABLE
        return f"{self.section}.{name}"

    def request_setting(self, name: str) -> str:
        """Whole name of a setting of what is asked, such as the model."""
        return f"{self.section.removesuffix('.client')}.{name}"


def check_variable(setting: str, value: str | None) -> str | None:
    """Return the name of an environment variable.

    Raises
    ------
    ConfigError
        For what cannot be one, most likely the key itself, which is not shown.
    """
    if value is not None and not re.fullmatch(r"[A-Za-z_]\w*", value, re.ASCII):
        raise ConfigError(
            f"{setting} must be the name of an environment variable, not a key\n"
            f"  export MY_KEY=... and set {setting}=MY_KEY"
        )
    return value


def read_key(options: ClientOptions) -> str:
    """Read the key from the environment; a stand-in for servers that need none.

    Raises
    ------
    ConfigError
        If there is none and the server is not local, or it cannot be one.
    """
    name = options.api_key_variable
    key = os.environ.get(name, "").strip() if name else ""
    if not key and (name is None or options.is_local):
        return "no-key"
    if not key:
        raise ConfigError(
            f"no key for {options.address}: set the environment variable {name}\n"
            f"  For a server that needs none: {options.setting('api_key_variable')}=null"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{name} holds characters that no key has; set it to the key alone")
    return key


def body(request: Request, options: ClientOptions) -> dict[str, Any]:
    """Write the JSON body of a request."""
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
