"""Settings of profiles that a language model writes."""

from __future__ import annotations

from dataclasses import fields

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.requests import CompletionOptions


@dataclass(frozen=True, config=STRICT)
class StageOptions:
    """What is special about the nodes of one type.

    Parameters
    ----------
    model
        Asked about these nodes instead of the model of all; None for that one.
    coverage
        Share of the nodes that are asked about, those with the most interactions and triples first. The others
        keep their template profile.
    """

    model: str | None = Field(default=None, min_length=1)
    coverage: float = Field(default=1.0, ge=0.0, le=1.0)


@dataclass(frozen=True, config=STRICT)
class LlmOptions(CompletionOptions):
    """What a language model is asked, and about which nodes; `CompletionOptions` says how it answers.

    All but `client`, `coverage`, `confirm_above` and `poll_seconds` is part of a prompt or its parameters: changing
    it asks anew for the nodes it concerns.

    Parameters
    ----------
    prompts
        A domain whose prompts come along (``books``, ``generic``, ``local_businesses``, ``movies_tv``, ``music``),
        or the path of a YAML file of your own.
    client
        The server that answers, and its limits.
    item, entity, user
        What is special about items, auxiliary entities and users.
    facts
        Most triples told about a node, rarest neighbours first.
    related_facts
        Most triples two hops away told about an item.
    linked_items
        Most linked items that an auxiliary entity is described by, those with the most users first.
    history_items
        Most training items that a user is described by, those with the fewest users first.
    item_reviews, user_reviews
        Most reviews that an item, and that a user is described by, where the data has reviews; of training
        interactions only. The longest of those that fit are taken.
    review_tokens
        From which length on a review is cut; counted as a quarter of the characters.
    confirm_above
        US dollars that a run may cost before ``main.py profile`` asks, or wants ``--yes``.
    poll_seconds
        Between two questions to the Batch API whether it has finished.
    prompt_tokens
        Most tokens of data in a prompt, counted as a quarter of the characters. What comes last is left out.
    """

    prompts: str = Field(default="generic", min_length=1)
    client: ClientOptions = Field(default_factory=ClientOptions)
    item: StageOptions = Field(default_factory=StageOptions)
    entity: StageOptions = Field(default_factory=StageOptions)
    user: StageOptions = Field(default_factory=StageOptions)
    facts: int = Field(default=24, ge=0)
    related_facts: int = Field(default=12, ge=0)
    linked_items: int = Field(default=10, ge=0)
    history_items: int = Field(default=12, ge=0)
    item_reviews: int = Field(default=3, ge=0)
    user_reviews: int = Field(default=5, ge=0)
    review_tokens: int = Field(default=120, ge=10)
    confirm_above: float = Field(default=1.0, ge=0.0)
    poll_seconds: float = Field(default=60.0, ge=0.0)
    prompt_tokens: int = Field(default=3000, ge=200)

    def for_stage(self, node_type: str) -> StageOptions:
        """The settings of ``item``, ``entity`` or ``user``."""
        return {"item": self.item, "entity": self.entity, "user": self.user}[node_type]

    def completion(self, node_type: str) -> CompletionOptions:
        """Model and parameters that answer about nodes of a type."""
        shared = {field.name: getattr(self, field.name) for field in fields(CompletionOptions)}
        return CompletionOptions(**shared | {"model": self.for_stage(node_type).model or self.model})
