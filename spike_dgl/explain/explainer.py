"""Explanations of the scores of a trained run."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path as FilePath

import numpy as np
import torch

from spike_dgl.data.dataset import Dataset
from spike_dgl.errors import SpikeError
from spike_dgl.explain.arcs import Arcs
from spike_dgl.explain.attention import Attention
from spike_dgl.explain.explanation import (
    Explanation,
    Fidelity,
    Link,
    Node,
    NodeKind,
    Over,
    Path,
    ScoreParts,
)
from spike_dgl.explain.paths import Paths, paths_between
from spike_dgl.explain.removal import Removal, pair_scores
from spike_dgl.explain.strength import attention_of_paths, gradient_of_arcs, message_weights
from spike_dgl.explain.text import path_sentence, summary
from spike_dgl.graph import INTERACTS, SIMILAR
from spike_dgl.models.base import Embeddings
from spike_dgl.models.spike import Spike, SpikeStates
from spike_dgl.profiles.stored import read_profile_texts
from spike_dgl.profiles.templates import limit_words
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.set_up import reopen
from spike_dgl.typing import FloatArray

LIKED_BY = "liked by"
PROFILE_WORDS = 30
"""Maximum number of words of a profile in an explanation."""
RANDOM_PATHS = 50
"""Maximum number of random paths that are removed for comparison."""
REMOVED_FOR_EACH = 5
"""Number of candidate paths, the strongest by gradient, that are removed for each path to show."""


class Explainer:
    """Explainer of a trained SPiKE model's scores.

    Parameters
    ----------
    dataset
        Data that the model was trained on.
    model
        Model with the weights of the reported epoch.
    profiles
        Profile texts of all nodes [U + N], users first; empty without profiles.
    """

    def __init__(self, dataset: Dataset, model: Spike, profiles: tuple[str, ...] = ()) -> None:
        self.dataset, self.model, self._profiles = dataset, model.eval(), profiles
        self.states = self._states(with_profiles=True)
        self.arcs = Arcs.from_messages(model.views.messages, dataset.num_relations)
        self.weights = message_weights(self.states, self.arcs)
        self._removal = Removal(model, self.states, self.arcs)

    @classmethod
    def load(cls, run: str | FilePath) -> Explainer:
        """Load from a run folder.

        Raises `DataError` if the run is not finished or its data has changed, and `SpikeError` if its model cannot be
        explained.
        """
        folder = RunFolder.open(FilePath(run))
        experiment = reopen(folder, ["training.device=cpu"])
        if not isinstance(experiment.model, Spike):
            raise SpikeError(
                f"{run}: the model is {experiment.config.model_name}, and only spike can be explained\n"
                "  Use a run that was trained with model.name=spike."
            )
        experiment.best_scores()  # loads the weights
        texts = read_profile_texts(folder.file("profiles.jsonl.gz"))
        return cls(experiment.dataset, experiment.model, (*texts.users, *texts.entities))

    @torch.no_grad()
    def _states(self, *, with_profiles: bool) -> SpikeStates:
        return self.model.propagate(with_profiles=with_profiles)

    @cached_property
    def states_without_profiles(self) -> SpikeStates:
        """States of the same model without injected profiles."""
        return self._states(with_profiles=False)

    @cached_property
    def _weights_without_profiles(self) -> FloatArray:
        return message_weights(self.states_without_profiles, self.arcs)

    def attention(self, *, profiles: bool = True) -> Attention:
        """Return the attention over the whole graph, with or without injected profiles."""
        weights = self.weights if profiles else self._weights_without_profiles
        attended, data = self.arcs.num_attended, self.dataset
        relations = data.relations.names
        return Attention(
            self.arcs.dst[:attended],
            self.arcs.relation[:attended],
            self.arcs.src[:attended],
            weights[:, :attended],
            data.users.names + data.entities.names,
            np.repeat(
                ["user", "item", "entity"],
                [data.num_users, data.num_items, data.num_entities - data.num_items],
            ),
            (*relations, *(f"{name} (inverse)" for name in relations), LIKED_BY, SIMILAR),
        )

    def explain(self, user: str, item: str, *, num_paths: int = 5, over: Over = "all") -> Explanation:
        """Explain the score of an item for a user.

        Parameters
        ----------
        user, item
            Raw ids or exact names.
        num_paths
            Maximum number of paths to show; of paths over the same bridges only the strongest is shown.
        over
            "all" paths, or only paths over "facts" of the knowledge graph, without other users and text neighbours.

        Raises
        ------
        UnknownIdError
            If the user or item is unknown or its name is ambiguous.
        """
        ends = self.rows(user, item)
        score = self.score(*ends)
        candidates = [chosen for paths in self.paths(*ends) if len(chosen := self._over(over, paths))]
        if num_paths < 1:
            raise ValueError(f"num_paths must be at least 1, not {num_paths}")
        found = [path for paths in candidates for path in self._strongest(paths, ends, num_paths)]
        found.sort(key=lambda path: -path.fidelity.drop)
        strongest = tuple(found[:num_paths])
        nodes = self._node(ends[0]), self._node(ends[1])
        return Explanation(
            *nodes,
            score,
            self._parts(*ends),
            strongest,
            sum(map(len, candidates)),
            over,
            summary(*nodes, strongest, over),
        )

    def _over(self, over: Over, paths: Paths) -> Paths:
        if over == "all":
            return paths
        no_users = paths.nodes[:, 1:].min(axis=1) >= self.dataset.num_users
        no_texts = self.arcs.relation[paths.arcs].max(axis=1) <= 2 * self.dataset.num_relations
        return paths.select(no_users & no_texts)

    def rows(self, user: str, item: str) -> tuple[int, int]:
        """Return the rows of a user and an item among all nodes, users first."""
        return self.dataset.users.find(user), self.dataset.num_users + self.dataset.items.find(item)

    def score(self, user: int, item: int) -> float:
        """Return the score of a user and an item, given by row: the model's own, and the terms added to it."""
        return self._own_score(user, item) + sum(self._of_terms(user, item).values())

    def _own_score(self, user: int, item: int) -> float:
        return _score(self.model, self.states.final, user, item)

    @cached_property
    def _terms(self) -> dict[str, Embeddings]:
        with torch.no_grad():
            return self.model.terms(self.model.compared(self.model.part(self.states.final)))

    def _of_terms(self, user: int, item: int) -> dict[str, float]:
        """Return the scores of the terms that are added to the model's own; no path or profile explains them."""
        row = item - self.dataset.num_users
        return {name: float(term.users[user] @ term.items[row]) for name, term in self._terms.items()}

    def best_item(self, user: int) -> int:
        """Return the row, among all nodes, of the unseen item with the highest score for a user, given by row."""
        first, final = self.dataset.num_users, self.states.final
        items = torch.arange(first, first + self.dataset.num_items)
        scores = pair_scores(self.model, final[user].expand(len(items), -1), final[items])
        for term in self._terms.values():
            scores += term.items @ term.users[user]
        scores[self.arcs.src[self.arcs.in_arcs(np.array([user]))[0]] - first] = -torch.inf
        return first + int(scores.argmax())

    def paths(self, user: int, item: int) -> list[Paths]:
        """Return all paths between two rows, by length; see `paths_between`."""
        mean = self.weights.mean(axis=(0, 2))
        return paths_between(self.arcs, mean, user, item, self.model.options.num_layers)

    def drops(self, user: int, item: int, paths: Paths) -> FloatArray:
        """Return the drop [C] of the score of a pair when the links of each path are removed."""
        return self._own_score(user, item) - self._removal.scores(user, item, paths.links(self.arcs))

    def attention_of(self, paths: Paths) -> FloatArray:
        """Return the product [C] of weights along each path, summed over the nodes where its messages can start."""
        attention: FloatArray = attention_of_paths(paths, self.arcs, self.weights)[1].sum(axis=0)
        return attention

    def gradient_of(self, user: int, item: int, paths: Paths) -> FloatArray:
        """Return the contribution [C] of the links of each path to the score of a pair, to first order."""
        of_arcs = gradient_of_arcs(self.model, self.states, self.arcs, self.weights, user, item)
        return np.array([of_arcs[links].sum() for links in paths.links(self.arcs)], dtype=np.float32)

    def _parts(self, user: int, item: int) -> ScoreParts:
        ids = _score(self.model, self.states.embedding.detach(), user, item)
        bare = _score(self.model, self.states_without_profiles.final, user, item)
        return ScoreParts(ids, bare - ids, self._own_score(user, item) - bare, **self._of_terms(user, item))

    def _strongest(self, paths: Paths, ends: tuple[int, int], number: int) -> list[Path]:
        """Return the `number` paths of one length, one per bridge, whose removal lowers the score most."""
        gradient = self.gradient_of(*ends, paths)
        order = np.argsort(-gradient, kind="stable")
        screened = order[paths.select(order).first_over_each_bridge()][: REMOVED_FOR_EACH * number]
        # Seeded by the pair, so that the same random paths are drawn each time.
        random = np.random.default_rng(list(ends)).permutation(len(paths))[: RANDOM_PATHS + number]
        removed = np.union1d(screened, random)
        drop = dict(zip(removed.tolist(), self.drops(*ends, paths.select(removed)).tolist(), strict=True))
        best = sorted(screened.tolist(), key=lambda row: -drop[row])[:number]
        others = np.array([drop[row] for row in random.tolist() if row not in best][:RANDOM_PATHS])
        meeting, attention = attention_of_paths(paths.select(np.array(best)), self.arcs, self.weights)
        return [
            self._path(
                paths.select(np.array([row])),
                int(meeting[attention[:, place].argmax()]),
                float(attention[:, place].sum()),
                _fidelity(drop[row], others),
            )
            for place, row in enumerate(best)
        ]

    def _path(self, path: Paths, meeting: int, attention: float, fidelity: Fidelity) -> Path:
        nodes = tuple(self._node(row) for row in path.nodes[0].tolist())
        links = tuple(self._link(path, place, meeting) for place in range(path.num_links))
        return Path(nodes, links, meeting, attention, fidelity, path_sentence(nodes, links))

    def _link(self, path: Paths, place: int, meeting: int) -> Link:
        to_user = place < meeting
        arc = int((path.towards_user if to_user else path.towards_item)(self.arcs)[0, place])
        hop = meeting - place if to_user else place + 1 - meeting
        relation, dst_is_head = self._relation(arc)
        return Link(
            relation,
            dst_is_head == to_user,
            "user" if to_user else "item",
            hop,
            _numbers(self.weights[hop - 1, arc]),
            _numbers(self._weights_without_profiles[hop - 1, arc]),
        )

    def _relation(self, arc: int) -> tuple[str, bool]:
        """Return the relation name of an arc, and whether its dst is the head of the triple."""
        row, R = int(self.arcs.relation[arc]), self.dataset.num_relations
        if row < 2 * R:  # row r is the message of relation r from tail to head
            return self.dataset.relations.names[row % R], row < R
        if row == 2 * R:
            return INTERACTS, bool(self.arcs.dst[arc] < self.dataset.num_users)
        return SIMILAR, True

    def _node(self, row: int) -> Node:
        data, entity = self.dataset, row - self.dataset.num_users
        kind: NodeKind = "user" if entity < 0 else "item" if entity < data.num_items else "entity"
        vocabulary = {"user": data.users, "item": data.items, "entity": data.entities}[kind]
        place = row if kind == "user" else entity
        # Profiles of users are private.
        is_shown = self._profiles and kind != "user"
        profile = limit_words([self._profiles[row]], PROFILE_WORDS) if is_shown else ""
        return Node(kind, vocabulary.ids[place], vocabulary.names[place], profile)


def _score(model: Spike, final: torch.Tensor, user: int, item: int) -> float:
    return float(pair_scores(model, final[[user]], final[[item]])[0])


def _fidelity(drop: float, others: np.ndarray) -> Fidelity:
    if not len(others):
        return Fidelity(drop, None, 0, None)
    return Fidelity(drop, float(others.mean()), len(others), float((others < drop).mean()))


def _numbers(values: FloatArray) -> tuple[float, ...]:
    return tuple(map(float, values))
