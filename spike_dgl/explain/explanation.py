"""What an explanation says: frozen records of names, ids and numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NodeKind = Literal["user", "item", "entity"]
Over = Literal["all", "facts"]


@dataclass(frozen=True)
class Node:
    """A user, an item or another entity.

    Parameters
    ----------
    kind, id, name
        What it is, its raw id and its name.
    profile
        The beginning of its profile; empty for users, and where it has none.
    """

    kind: NodeKind
    id: str
    name: str
    profile: str = ""


@dataclass(frozen=True)
class ScoreParts:
    """A score, split by what the model is given; the parts add up to it.

    Parameters
    ----------
    id
        The score by the ID embeddings alone.
    graph
        What it gains when messages travel on the graph, without profiles.
    profile
        What it gains when profiles are injected as well.
    """

    id: float
    graph: float
    profile: float

    @property
    def total(self) -> float:
        """The score."""
        return self.id + self.graph + self.profile


@dataclass(frozen=True)
class Link:
    """A step of a path, which is a fact, an interaction or a likeness of texts, and the message that travels over it.

    Parameters
    ----------
    relation
        Name of the relation; "interacts" where a user and an item are linked, "similar text" where two items read
        alike.
    forward
        Whether the fact reads along the path: the earlier node is its head.
    towards
        Which end the message goes to.
    hop
        In which of the L hops, counted from 1.
    attention
        Weight of the message in each head. Users average their history, with the same weight in all heads.
    attention_without_profiles
        The same where no profile is injected.
    """

    relation: str
    forward: bool
    towards: Literal["user", "item"]
    hop: int
    attention: tuple[float, ...]
    attention_without_profiles: tuple[float, ...]


@dataclass(frozen=True)
class Fidelity:
    """Whether a path matters: what its removal does, against removals of random paths.

    Parameters
    ----------
    drop
        How much the score falls when the links of the path are taken out of the graph; below zero it rises.
    random_drop
        Mean drop of random other paths of the same length between the same two ends; None where there is no other.
    random_paths
        How many these were.
    stronger_than
        Share of them whose drop is smaller; None where there is no other.
    """

    drop: float
    random_drop: float | None
    random_paths: int
    stronger_than: float | None


@dataclass(frozen=True)
class Path:
    """A path from the user over an item of the history to the explained item.

    Parameters
    ----------
    nodes
        From user to item, n + 1 of them.
    links
        The n steps between them.
    meeting
        Position of the node whose messages over this path weigh most at both ends.
    attention
        Product of the weights of its messages, averaged over heads and summed over the nodes where they may meet.
    fidelity
        What removing it does.
    sentence
        The path in words.
    """

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    meeting: int
    attention: float
    fidelity: Fidelity
    sentence: str

    @property
    def bridges(self) -> tuple[Node, ...]:
        """The nodes between the item of the history and the explained one."""
        return self.nodes[2:-1]


@dataclass(frozen=True)
class Explanation:
    """Why a model gives an item its score for a user.

    Parameters
    ----------
    user, item
        Both ends.
    score
        By the trained model.
    parts
        The score, split.
    paths
        Those whose removal lowers the score most, best first.
    num_paths
        How many paths there are between the two.
    over
        Whether these are "all" paths, or those over "facts" alone, without other users and similar texts.
    sentence
        The explanation in words.
    """

    user: Node
    item: Node
    score: float
    parts: ScoreParts
    paths: tuple[Path, ...]
    num_paths: int
    over: Over
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Nested dicts and lists of texts and numbers, as JSON has them."""
        return {key: _plain(part) for key, part in asdict(self).items()}

    def to_text(self) -> str:
        """To read in a terminal."""
        from spike_dgl.explain.text import to_text

        return to_text(self)

    def to_dot(self) -> str:
        """A graph in the DOT language of Graphviz."""
        from spike_dgl.explain.drawing import to_dot

        return to_dot(self)

    def to_figure(self) -> Figure:
        """A picture of the paths; needs matplotlib. `spike_dgl.plots.save` writes it."""
        from spike_dgl.explain.drawing import to_figure

        return to_figure(self)


def _plain(value: Any) -> Any:
    """Tuples become lists, as they do on the way through JSON."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value
