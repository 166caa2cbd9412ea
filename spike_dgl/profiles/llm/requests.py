"""Requests to a language model, their parameters, and the key under which an answer is stored."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from functools import cached_property

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT, Mapped
from spike_dgl.errors import ConfigError


@dataclass(frozen=True, config=STRICT)
class CompletionOptions:
    """Model and sampling parameters of a request.

    Parameters
    ----------
    model
        Name of the model on the server.
    temperature
        Sampling temperature; 0 is greedy decoding. None sends none, for models that accept only their default.
    top_p
        Probability mass for nucleus sampling; None for the server's default.
    seed
        Random seed for the server's sampling, if it supports one. None sends none, for servers that reject it.
    max_tokens
        Maximum number of tokens of an answer, including reasoning tokens. An answer cut off at the limit is rejected.
    reasoning_effort
        Reasoning effort in the server's terms, such as ``none``, ``low`` or ``high``; None for the server's default.
    extra_body
        Further parameters for the server, such as vLLM's ``{chat_template_kwargs: {enable_thinking: false}}``.
    """

    model: str = Field(default="gpt-4o-mini", min_length=1)
    temperature: float | None = Field(default=0.0, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = 2020
    max_tokens: int = Field(default=400, ge=1)
    reasoning_effort: str | None = Field(default=None, min_length=1)
    extra_body: Mapped | None = None

    @field_validator("extra_body")
    @classmethod
    def _check_extra_body(cls, value: Mapped | None) -> Mapped | None:
        return check_extra_body("profiles.llm.extra_body", value)


_RESERVED = (
    "model", "messages", "input", "temperature", "top_p", "seed", "max_tokens", "max_completion_tokens",
    "reasoning_effort", "dimensions", "encoding_format", "stream", "n",
)  # fmt: skip
_SECRET = re.compile(r"key|token$|password|secret|authorization|credential", re.IGNORECASE)


def check_extra_body(setting: str, value: Mapped | None) -> Mapped | None:
    """Return the further parameters of a request, None if there are none.

    Raises
    ------
    ConfigError
        If a parameter is one that this program sends, or its name is that of a secret; its value is not shown.
    """
    for name in value or ():
        if name in _RESERVED:
            remedy = "Remove it: it has its own setting, or a fixed value."
            raise ConfigError(f"{setting}: '{name}' is not allowed here\n  {remedy}")
        if _SECRET.search(name):
            raise ConfigError(f"{setting} must not contain a secret such as '{name}': run folders show it")
    return value or None


TOKENS_PER_BYTE = 1 / 4
"""Estimated prompt tokens per byte, used until a server has reported counts. English has about 4.5 bytes per token."""

JUDGE = "judge"
"""Node type of requests that rate a profile. They are answered in JSON, all others in prose."""


@dataclasses.dataclass(frozen=True)
class Request:
    """Prompt about a node, with the model's parameters.

    Parameters
    ----------
    node_type
        Group of the request in reports: the node type ``item``, ``entity`` or ``user``, or ``judge`` for requests
        that rate a profile.
    node
        Raw id of the node.
    system
        System message: the model's role and rules.
    prompt
        User message: the task and the node's data.
    max_words
        Maximum number of words in the prompt; `spike_dgl.profiles.llm.rejections` has the tolerance.
    options
        Model and parameters.
    """

    node_type: str
    node: str
    system: str
    prompt: str
    max_words: int
    options: CompletionOptions

    @cached_property
    def key(self) -> str:
        """SHA-256 of system message, prompt and options, under which the answer is stored.

        It does not depend on the node, so that two nodes with the same prompt share one answer. Options that are
        None are not sent and do not count either.
        """
        identity = {"system": self.system, "prompt": self.prompt, "options": _given(self.options)}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    @property
    def prompt_bytes(self) -> int:
        """Size of system message and prompt in UTF-8 bytes, from which tokens are estimated."""
        return len((self.system + self.prompt).encode("utf-8", "surrogatepass"))


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request without its texts, as the ledger stores it. A batch keeps it until the answers arrive."""

    key: str
    node_type: str
    model: str
    prompt_bytes: int
    max_words: int

    @classmethod
    def from_request(cls, request: Request) -> Asked:
        """Drop the texts of a request."""
        return cls(
            request.key, request.node_type, request.options.model, request.prompt_bytes, request.max_words
        )


def _given(options: CompletionOptions) -> Mapped:
    return {name: value for name, value in dataclasses.asdict(options).items() if value is not None}
