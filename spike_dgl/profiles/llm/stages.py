"""Requests of the three stages, bottom-up: about items, then auxiliary entities, then users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np

from spike_dgl.data.reviews import ChosenReviews
from spike_dgl.data.training import TrainingData
from spike_dgl.profiles.facts import readable, sentence
from spike_dgl.profiles.llm.material import CHARACTERS_A_TOKEN, system_message, user_message
from spike_dgl.profiles.llm.options import LlmOptions
from spike_dgl.profiles.llm.prompts import load_prompts
from spike_dgl.profiles.llm.requests import Request
from spike_dgl.profiles.neighbours import Neighbours, facts_of_neighbours, histories, neighbours_of
from spike_dgl.profiles.records import NodeType
from spike_dgl.typing import IndexArray

Material: TypeAlias = dict[str, Sequence[str]]


class PromptWriter:
    """Writer of the request about each node, from the data and the profiles of items.

    Parameters
    ----------
    data
        Names, facts, descriptions and training interactions; no validation or test interactions.
    options
        Prompts, model and limits.
    """

    def __init__(self, data: TrainingData, options: LlmOptions) -> None:
        self._data, self._options = data, options
        self._prompts = load_prompts(options.prompts)
        self._names = [readable(name) for name in data.entities.names]
        self._neighbours = neighbours_of(data.triples, data.num_entities, data.num_relations)

    def requests(
        self, node_type: NodeType, items: Sequence[str], rows: Iterable[int]
    ) -> Iterator[tuple[int, Request]]:
        """Yield row and request of each node with any data.

        Nodes without a name other than their raw id, description, facts and items are left out.

        Parameters
        ----------
        node_type
            ``item``, ``entity`` or ``user``.
        items
            Profiles of all items [I], quoted in prompts for entities and users; not used for items.
        rows
            Rows of the nodes: rows of entities (items first) for items and entities, rows of users for users.
        """
        prompt, options = self._prompts.for_stage(node_type), self._options.completion(node_type)
        system = system_message(prompt)
        about = {"item": self._about_item, "entity": self._about_entity, "user": self._about_user}[node_type]
        for row in rows:
            material = about(row, items)
            if any(material.values()):
                text = user_message(prompt, material, self._options.prompt_tokens)
                yield (
                    row,
                    Request(node_type, self._raw_id(node_type, row), system, text, prompt.max_words, options),
                )

    def by_degree(self, node_type: NodeType) -> IndexArray:
        """Return all rows of a node type, those with the most training interactions and triples first."""
        data = self._data
        if node_type == "user":
            degrees, first = np.bincount(data.train.users, minlength=data.num_users), 0
        else:
            degrees = np.bincount(data.train.items, minlength=data.num_entities) + self._neighbours.counts
            first = 0 if node_type == "item" else data.num_items
            degrees = degrees[first : data.num_items if node_type == "item" else None]
        return first + np.argsort(-degrees, kind="stable")

    def _raw_id(self, node_type: NodeType, row: int) -> str:
        ids = {"item": self._data.items, "entity": self._data.entities, "user": self._data.users}[
            node_type
        ].ids
        return ids[row]

    def _about_item(self, row: int, _: Sequence[str]) -> Material:
        neighbours = self._neighbours
        related = facts_of_neighbours(neighbours, row, self._options.related_facts)
        return self._named(
            "title",
            self._data.items.ids[row],
            row,
            facts=self._sentences(row, neighbours, self._options.facts),
            related_facts=[self._sentence(*fact) for fact in related],
            reviews=self._reviews.items.get(row, ()),
        )

    def _about_entity(self, row: int, items: Sequence[str]) -> Material:
        limit = self._options.linked_items
        facts = self._linked_items.facts_of(row, limit)
        return self._named(
            "name",
            self._data.entities.ids[row],
            row,
            facts=self._sentences(row, self._others, self._options.facts),
            items=[
                f"{self._sentence(row, relation, item)} {items[item]}".strip() for relation, item in facts
            ],
        )

    def _about_user(self, row: int, items: Sequence[str]) -> Material:
        history = self._histories[row][: self._options.history_items]
        return {
            "description": _texts(self._data.descriptions.users, row),
            "reviews": [f"{self._names[item]}: {text}" for item, text in self._reviews.users.get(row, ())],
            "items": [_with_title(self._names[item], items[item]) for item in history],
        }

    def _named(self, placeholder: str, raw_id: str, row: int, **lists: Sequence[str]) -> Material:
        """Return name, description and the lists of a stage; nothing if there is only a raw id."""
        material: Material = {"description": _texts(self._data.descriptions.entities, row), **lists}
        name = self._names[row]
        if not any(material.values()) and self._data.entities.names[row] == raw_id:
            return {}
        return {placeholder: [name], **material}

    @cached_property
    def _linked_items(self) -> Neighbours:
        """Items linked to each entity, most popular first: they represent the others, and their profiles come first."""
        popularity = np.bincount(self._data.train.items, minlength=self._data.num_entities)
        return self._neighbours.below(self._data.num_items).heaviest_first(popularity)

    @cached_property
    def _others(self) -> Neighbours:
        return self._neighbours.from_row(self._data.num_items)

    @cached_property
    def _reviews(self) -> ChosenReviews:
        options = self._options
        characters = options.review_tokens * CHARACTERS_A_TOKEN
        return self._data.reviews.choose(options.item_reviews, options.user_reviews, characters)

    @cached_property
    def _histories(self) -> list[list[int]]:
        return histories(self._data.train, self._data.num_users, self._data.num_items)

    def _sentences(self, row: int, neighbours: Neighbours, limit: int) -> list[str]:
        return [self._sentence(row, relation, node) for relation, node in neighbours.facts_of(row, limit)]

    def _sentence(self, row: int, relation: int, node: int) -> str:
        """Write a fact about `row`, which is the tail for relations of R or more."""
        size = self._data.num_relations
        head, tail = (node, row) if relation >= size else (row, node)
        names, relations = self._names, self._data.relations.names
        return sentence(names[head], relations[relation % size], names[tail], inverse=relation >= size)


def _texts(descriptions: Mapping[int, str], row: int) -> list[str]:
    return [descriptions[row]] if descriptions.get(row, "").strip() else []


def _with_title(title: str, profile: str) -> str:
    return profile if profile.startswith(title) else f"{title}: {profile}"
