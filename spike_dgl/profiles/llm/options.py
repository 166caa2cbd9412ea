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
    """Settings for the nodes of one type.

    Parameters
    ----------
    model
        Model for nodes of this type; None for `profiles.llm.model`.
    coverage
        Fraction of the nodes for which the model writes profiles, starting with those that have the most interactions
        and triples. The others keep their template profiles.
    """

    model: str | None = Field(default=None, min_length=1)
    coverage: float = Field(default=1.0, ge=0.0, le=1.0)


@dataclass(frozen=True, config=STRICT)
class LlmOptions(CompletionOptions):
    """Settings of the prompts, the nodes they are about, and (see `CompletionOptions`) the model.

    All settings but `client`, `coverage`, `confirm_above` and `poll_seconds` change prompts or their parameters:
    after a change, the affected nodes need new answers.

    Parameters
    ----------
    prompts
        Domain with built-in prompts (``books``, ``generic``, ``local_businesses``, ``movies_tv``, ``music``), or the
        path of your own YAML file.
    client
        Connection to the server, and its limits.
    item, entity, user
        Settings for items, auxiliary entities and users.
    facts
        Maximum number of a node's triples in its prompt; those with the rarest neighbours come first.
    related_facts
        Maximum number of triples two hops away in an item's prompt.
    linked_items
        Maximum number of linked items in an auxiliary entity's prompt; those with the most users come first.
    history_items
        Maximum number of training items in a user's prompt; those with the fewest users come first.
    item_reviews, user_reviews
        Maximum number of reviews in an item's and in a user's prompt, if the data has reviews. Only reviews of
        training interactions are used; the longest that fit come first.
    review_tokens
        Maximum length of a review in tokens (characters / 4); the rest is cut off.
    confirm_above
        Estimated cost of a run in US dollars above which ``main.py profile`` asks for confirmation, or requires
        ``--yes``.
    poll_seconds
        Seconds between two status requests to the Batch API.
    prompt_tokens
        Maximum number of data tokens (characters / 4) in a prompt; data beyond that is left out.
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
        """Return the settings of ``item``, ``entity`` or ``user``."""
        return {"item": self.item, "entity": self.entity, "user": self.user}[node_type]

    def completion(self, node_type: str) -> CompletionOptions:
        """Return the model and its parameters for nodes of a type."""
        shared = {field.name: getattr(self, field.name) for field in fields(CompletionOptions)}
        return CompletionOptions(**shared | {"model": self.for_stage(node_type).model or self.model})
