"""What is asked of a language model, and the key under which its answer is kept."""

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
    """All that decides an answer besides the words of the prompt.

    Parameters
    ----------
    model
        Name of the model, as the server knows it.
    temperature
        0 takes the likeliest word each time. None leaves it to the server, for models that refuse another than
        their own.
    top_p
        Sample from the likeliest words that make up this probability only; None leaves it to the server.
    seed
        Of the server's sampling, where it honours one. None sends none, for servers that refuse it.
    max_tokens
        Of an answer, thoughts included. One that is cut off there is not stored as an answer.
    reasoning_effort
        How much a model thinks before it answers, in the server's words, such as ``none``, ``low`` or ``high``; None
        leaves it to the server.
    extra_body
        Further parameters that the server knows, such as ``{chat_template_kwargs: {enable_thinking: false}}`` of vLLM.
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
    def _nothing_of_ours(cls, value: Mapped | None) -> Mapped | None:
        return check_extra_body("profiles.llm.extra_body", value)


_OURS = (
    "model", "messages", "input", "temperature", "top_p", "seed", "max_tokens", "max_completion_tokens",
    "reasoning_effort", "dimensions", "encoding_format", "stream", "n",
)  # fmt: skip
_SECRET = re.compile(r"key|token$|password|secret|authorization|credential", re.IGNORECASE)


def check_extra_body(setting: str, value: Mapped | None) -> Mapped | None:
    """Return further parameters; None for none of them.

    Raises
    ------
    ConfigError
        Where one has a setting of its own or cannot be read back, and where one holds a secret, which is not shown.
    """
    for name in value or ():
        if name in _OURS:
            remedy = "Leave it out: it is a setting of its own, or always the same."
            raise ConfigError(f"{setting}: '{name}' has no place there\n  {remedy}")
        if _SECRET.search(name):
            raise ConfigError(f"{setting} must hold no secret such as '{name}': run folders show it")
    return value or None


TOKENS_PER_BYTE = 1 / 4
"""Tokens of prompts, until a server has counted some. English prose has about 4.5 bytes a token."""

JUDGE = "judge"
"""Node type of questions about a profile, which are answered in JSON; all others ask for prose."""


@dataclasses.dataclass(frozen=True)
class Request:
    """One prompt about one node.

    Parameters
    ----------
    node_type
        Kind of the node, which decides its stage and its place in reports: ``item``, ``entity``, ``user``, or
        ``judge`` for questions about a profile.
    node
        Its raw id.
    system
        Who the model is and what it must keep to.
    prompt
        What is asked, with the data it is asked about.
    max_words
        Of the answer; `spike_dgl.profiles.llm.answers` says how much longer one may be.
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
        """SHA-256 of system, prompt and options: the identity of a paid answer.

        The node does not count, so that two nodes with one prompt share one answer. An option that is None does
        not count either: it is not sent.
        """
        identity = {"system": self.system, "prompt": self.prompt, "options": _given(self.options)}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    @property
    def prompt_bytes(self) -> int:
        """Size of system and prompt in UTF-8, from which tokens are estimated before a server counts them."""
        return len((self.system + self.prompt).encode("utf-8", "surrogatepass"))


@dataclasses.dataclass(frozen=True)
class Asked:
    """Request without its words, as the ledger notes it; a batch keeps it until its answers come."""

    key: str
    node_type: str
    model: str
    prompt_bytes: int
    max_words: int

    @classmethod
    def from_request(cls, request: Request) -> Asked:
        """Note a request."""
        return cls(
            request.key, request.node_type, request.options.model, request.prompt_bytes, request.max_words
        )


def _given(options: CompletionOptions) -> Mapped:
    return {name: value for name, value in dataclasses.asdict(options).items() if value is not None}
