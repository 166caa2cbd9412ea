"""What is asked of a language model, and the key under which its answer is kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import cached_property

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT, Mapped


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
        Of an answer. One that is cut off there is not stored as an answer.
    """

    model: str = Field(default="gpt-4o-mini", min_length=1)
    temperature: float | None = Field(default=0.0, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = 2020
    max_tokens: int = Field(default=400, ge=1)


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


def _given(options: CompletionOptions) -> Mapped:
    return {name: value for name, value in dataclasses.asdict(options).items() if value is not None}
