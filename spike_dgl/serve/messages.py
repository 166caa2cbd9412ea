"""Schemas of the HTTP API's requests and responses, shown on its OpenAPI page."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from spike_dgl.explain.explanation import Over
from spike_dgl.recommend.matched import ItemMatch
from spike_dgl.serve import limits

RawId = Annotated[str, Field(min_length=1, max_length=limits.ID_LENGTH)]
ListLength = Annotated[int, Field(ge=1, le=limits.LIST_LENGTH, description="Length of a list.")]
ExcludeSeen = Annotated[bool, Field(description="Exclude items that the user already interacted with.")]


class Question(BaseModel):
    """Query parameters. An unknown one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Body(BaseModel):
    """JSON body. An unknown key is an error, and so is a number sent as a string."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SearchQuestion(Question):
    """Search text and number of matches."""

    query: Annotated[
        str, Field(max_length=limits.ID_LENGTH, description="Part of a name or id; if empty, all match.")
    ] = ""
    limit: Annotated[int, Field(ge=1, le=limits.MATCHES, description="Maximum number of matches.")] = 10


class HistoryQuestion(Question):
    """User and number of items."""

    user: RawId
    limit: Annotated[int, Field(ge=1, le=limits.LIST_LENGTH, description="Maximum number of items.")] = 100


class UserQuestion(Question):
    """User and length of the list."""

    user: RawId
    k: ListLength = 10
    exclude_seen: ExcludeSeen = True


class ItemQuestion(Question):
    """Item and number of similar items."""

    item: RawId
    k: ListLength = 10


class ExplanationQuestion(Question):
    """User and item to explain, and number and kind of paths."""

    user: RawId
    item: RawId
    num_paths: Annotated[int, Field(ge=1, le=limits.PATHS, description="Maximum number of paths.")] = 5
    over: Annotated[Over, Field(description="All paths, or only those over facts.")] = "all"


class UsersBody(Body):
    """Several users, and the length of their lists."""

    users: Annotated[list[RawId], Field(min_length=1, max_length=limits.USERS)]
    k: ListLength = 10
    exclude_seen: ExcludeSeen = True
    candidates: Annotated[
        list[RawId] | None,
        Field(min_length=1, max_length=limits.CANDIDATES, description="Rank only these items."),
    ] = None


class LikedItemsBody(Body):
    """Items liked by a user who is not in the data."""

    items: Annotated[list[RawId], Field(min_length=1, max_length=limits.LIKED_ITEMS)]
    k: ListLength = 10


class TasteBody(Body):
    """Description of what a user who is not in the data likes."""

    text: Annotated[str, Field(min_length=1, max_length=limits.TEXT_LENGTH, pattern=r"\S")]
    k: ListLength = 10


class ScoresBody(Body):
    """User, and items to score."""

    user: RawId
    items: Annotated[list[RawId], Field(min_length=1, max_length=limits.CANDIDATES)]


class Named(BaseModel):
    """A user or an item."""

    id: str
    name: str


class Scored(Named):
    """An item and its score; higher is better."""

    score: float


class Found(BaseModel):
    """Matches, best first."""

    matches: list[Named]
    total: Annotated[int, Field(description="Number of all matches.")]


class History(BaseModel):
    """Items of a user's training and validation interactions."""

    user: Named
    items: list[Named]
    total: Annotated[int, Field(description="Number of all items.")]


class Ranking(BaseModel):
    """Items, best first."""

    items: list[Scored]


class Matched(Scored):
    """An item for a text, and the words of the text that match it."""

    match: ItemMatch


class TextRanking(BaseModel):
    """Items for a text, best first."""

    items: list[Matched]
    liked: Annotated[
        list[Named], Field(description="Items that the text names as examples; they are not in the list.")
    ]
    unknown_words: Annotated[
        list[str], Field(description="Words of the text that occur in no profile and no name.")
    ]


class UserRanking(Ranking):
    """Items for a user, best first."""

    user: str
    ranked_by: Annotated[
        Literal["model", "popularity"],
        Field(description="Popularity if the user has no training interactions, otherwise the model."),
    ]


class UserRankings(BaseModel):
    """Lists of the requested users, in the order of the request."""

    rankings: list[UserRanking]


class Run(BaseModel):
    """The run that is served."""

    name: Annotated[str, Field(description="Name of the run folder.")]
    model: str
    data: str
    num_users: int
    num_items: int
    trained: Annotated[str, Field(description="Time when training ended, ISO 8601; empty if unknown.")]
    checksum: Annotated[str, Field(description="Checksum of the data.")]
    version: Annotated[str, Field(description="Version of spike_dgl on the server.")]
    explanations: Annotated[
        Literal["loading", "ready", "unavailable"],
        Field(description="State of explanations. They need the model, which is loaded after the start."),
    ]
    remark: Annotated[str, Field(description="Reason why explanations are unavailable, or empty.")] = ""


class Health(BaseModel):
    """Liveness of the server."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Readiness of the server for requests."""

    status: Literal["ready", "loading", "draining"]


class Problem(BaseModel):
    """Error message."""

    detail: str


class InvalidPart(BaseModel):
    """An invalid value of a request."""

    loc: Annotated[list[str | int], Field(description="Location of the value in the request.")]
    msg: Annotated[str, Field(description="Expected value.")]
    type: str


class Invalid(BaseModel):
    """Invalid values of a request."""

    detail: list[InvalidPart]
