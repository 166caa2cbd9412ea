"""Explanations as frozen records of names, ids and numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NodeKind = Literal["user", "item", "entity"]
Over = Literal["all", "facts"]


@dataclass(frozen=True)
class Node:
    """User, item or other entity.

    Parameters
    ----------
    kind, id, name
        Type of the node, raw id and name.
    profile
        First words of the profile; empty for users and without a profile.
    """

    kind: NodeKind
    id: str
    name: str
    profile: str = ""


@dataclass(frozen=True)
class ScoreParts:
    """Parts that add up to a score.

    Parameters
    ----------
    id
        Score of the ID embeddings alone.
    graph
        Gain by message passing without profiles.
    profile
        Further gain by injecting profiles.
    linear, popularity
        Linear term and popularity term, which are no part of the model; None if the run has none.
    """

    id: float
    graph: float
    profile: float
    linear: float | None = None
    popularity: float | None = None

    @property
    def total(self) -> float:
        """Sum of the parts, the score."""
        return sum(self.by_name().values())

    def by_name(self) -> dict[str, float]:
        """Return the parts by their names in text."""
        parts = {
            "ID": self.id,
            "graph": self.graph,
            "profiles": self.profile,
            "linear term": self.linear,
            "popularity term": self.popularity,
        }
        return {name: part for name, part in parts.items() if part is not None}


@dataclass(frozen=True)
class Link:
    """Step of a path and its message; it is a triple, an interaction or a pair of text neighbours.

    Parameters
    ----------
    relation
        Name of the relation; "interacts" between a user and an item, "similar text" between text neighbours.
    forward
        Whether the earlier node on the path is the head of the triple.
    towards
        End of the path that the message is sent towards.
    hop
        Number of the hop, from 1.
    attention
        Weight of the message in each head; the share in the mean, for messages to users.
    attention_without_profiles
        Weight without injected profiles.
    """

    relation: str
    forward: bool
    towards: Literal["user", "item"]
    hop: int
    attention: tuple[float, ...]
    attention_without_profiles: tuple[float, ...]


@dataclass(frozen=True)
class Fidelity:
    """Effect of removing a path, compared with removing random paths.

    Parameters
    ----------
    drop
        Drop of the score when the links of the path are removed from the graph; negative if the score rises.
    random_drop
        Mean drop of other random paths of the same length between the same ends; None if there are none.
    random_paths
        Number of these random paths.
    stronger_than
        Share of them with a smaller drop; None if there are none.
    """

    drop: float
    random_drop: float | None
    random_paths: int
    stronger_than: float | None


@dataclass(frozen=True)
class Path:
    """Path from the user over an item of the history to the explained item.

    Parameters
    ----------
    nodes
        The n + 1 nodes from user to item.
    links
        The n links between them.
    meeting
        Position of the node whose messages along the path have the largest weight at both ends.
    attention
        Product of the weights of the messages, averaged over heads and summed over the nodes where they can start.
    fidelity
        Effect of removing the path.
    sentence
        Description of the path.
    """

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    meeting: int
    attention: float
    fidelity: Fidelity
    sentence: str

    @property
    def bridges(self) -> tuple[Node, ...]:
        """Nodes between the item of the history and the explained item."""
        return self.nodes[2:-1]


@dataclass(frozen=True)
class Explanation:
    """Explanation of the score of an item for a user.

    Parameters
    ----------
    user, item
        User and item.
    score
        Score by the trained model.
    parts
        Parts of the score.
    paths
        Paths whose removal lowers the score most, best first.
    num_paths
        Number of all paths between the two.
    over
        "all" paths, or only paths over "facts", without other users and text neighbours.
    sentence
        Summary of the explanation.
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
        """Convert to nested dicts and lists of strings and numbers, for JSON."""
        return {key: _plain(part) for key, part in asdict(self).items()}

    def to_text(self) -> str:
        """Render for the terminal."""
        from spike_dgl.explain.text import to_text

        return to_text(self)

    def to_dot(self) -> str:
        """Render as a graph in Graphviz's DOT language."""
        from spike_dgl.explain.drawing import to_dot

        return to_dot(self)

    def to_figure(self) -> Figure:
        """Draw the paths; needs matplotlib. Save the figure with `spike_dgl.plots.save`."""
        from spike_dgl.explain.drawing import to_figure

        return to_figure(self)


def _plain(value: Any) -> Any:
    """Convert tuples to lists, as JSON does."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value
