"""Questions and answers of the HTTP API, as its OpenAPI page shows them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from spike_dgl.explain.explanation import Over
from spike_dgl.serve import limits

RawId = Annotated[str, Field(min_length=1, max_length=limits.ID_LENGTH)]
ListLength = Annotated[int, Field(ge=1, le=limits.LIST_LENGTH, description="Length of a list.")]
ExcludeSeen = Annotated[bool, Field(description="Leave out what the user already interacted with.")]


class Question(BaseModel):
    """Parameters in the address: a misspelt one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Body(BaseModel):
    """A JSON body: a misspelt key is an error, and so is a number that is sent as text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SearchQuestion(Question):
    """What to look for."""

    query: Annotated[
        str, Field(max_length=limits.ID_LENGTH, description="Part of a name or id; empty: everything.")
    ] = ""
    limit: Annotated[int, Field(ge=1, le=limits.MATCHES, description="Most matches to return.")] = 10


class HistoryQuestion(Question):
    """Whose history, and how much of it."""

    user: RawId
    limit: Annotated[int, Field(ge=1, le=limits.LIST_LENGTH, description="Most items to return.")] = 100


class UserQuestion(Question):
    """Whose list, and how long."""

    user: RawId
    k: ListLength = 10
    exclude_seen: ExcludeSeen = True


class ItemQuestion(Question):
    """Like which item, and how many."""

    item: RawId
    k: ListLength = 10


class ExplanationQuestion(Question):
    """Why that item for that user."""

    user: RawId
    item: RawId
    num_paths: Annotated[int, Field(ge=1, le=limits.PATHS, description="Most paths to return.")] = 5
    over: Annotated[Over, Field(description="All paths, or those over facts alone.")] = "all"


class UsersBody(Body):
    """Several users at once."""

    users: Annotated[list[RawId], Field(min_length=1, max_length=limits.USERS)]
    k: ListLength = 10
    exclude_seen: ExcludeSeen = True
    candidates: Annotated[
        list[RawId] | None,
        Field(min_length=1, max_length=limits.CANDIDATES, description="Rank these items only."),
    ] = None


class LikedItemsBody(Body):
    """A user who is not in the data, by items they like."""

    items: Annotated[list[RawId], Field(min_length=1, max_length=limits.LIKED_ITEMS)]
    k: ListLength = 10


class TasteBody(Body):
    """A user who is not in the data, by a description of what they like."""

    text: Annotated[str, Field(min_length=1, max_length=limits.TEXT_LENGTH, pattern=r"\S")]
    k: ListLength = 10


class ScoresBody(Body):
    """Which items to score for whom."""

    user: RawId
    items: Annotated[list[RawId], Field(min_length=1, max_length=limits.CANDIDATES)]


class Named(BaseModel):
    """A user or an item."""

    id: str
    name: str


class Scored(Named):
    """An item and its score; the higher, the better it fits."""

    score: float


class Found(BaseModel):
    """Some of what matches, best first."""

    matches: list[Named]
    total: Annotated[int, Field(description="How many match in all.")]


class History(BaseModel):
    """Items of a user's training and validation interactions."""

    user: Named
    items: list[Named]
    total: Annotated[int, Field(description="How many there are in all.")]


class Ranking(BaseModel):
    """Items, best first."""

    items: list[Scored]


class UserRanking(Ranking):
    """Items for a user, best first."""

    user: str
    ranked_by: Annotated[
        Literal["model", "popularity"],
        Field(
            description="Popularity for a user without training interactions, of whom a model knows nothing."
        ),
    ]


class UserRankings(BaseModel):
    """A list for every user that was asked for, in that order."""

    rankings: list[UserRanking]


class Run(BaseModel):
    """What this server serves."""

    name: Annotated[str, Field(description="Of the run folder.")]
    model: str
    data: str
    num_users: int
    num_items: int
    trained: Annotated[str, Field(description="When training ended, ISO 8601; empty where unknown.")]
    checksum: Annotated[str, Field(description="Of the data.")]
    version: Annotated[str, Field(description="Of spike_dgl, which answers.")]
    explanations: Annotated[
        Literal["loading", "ready", "unavailable"],
        Field(description="They need the whole model, which is loaded after the server has started."),
    ]
    remark: Annotated[str, Field(description="Why explanations are unavailable, or empty.")] = ""


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether to send requests here."""

    status: Literal["ready", "loading", "draining"]


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str


class InvalidPart(BaseModel):
    """One part of a question that cannot be."""

    loc: Annotated[list[str | int], Field(description="Where it stands.")]
    msg: Annotated[str, Field(description="What was expected.")]
    type: str


class Invalid(BaseModel):
    """What is wrong with a question."""

    detail: list[InvalidPart]
