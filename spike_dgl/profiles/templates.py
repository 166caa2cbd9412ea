"""Profiles without a language model: paragraphs filled in from facts, bottom-up.

Items are described by their facts, auxiliary entities by the items they are linked to, users by the items of
their training history. Each stage reads what the one before wrote, so ready-made profiles of items shape those
of entities and users. Nothing is random; `spike_dgl.profiles.neighbours` says which facts are told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from spike_dgl.data.training import TrainingData
from spike_dgl.profiles.facts import phrase, readable
from spike_dgl.profiles.neighbours import (
    as_lists,
    favourite_attributes,
    histories,
    neighbours_of,
    related_entities,
)
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.words import first_words, num_words

RELATED = 16
"""Entities two hops away that an item's profile names."""
FAVOURITES = 12
"""Attributes of the training items that a user's profile names."""
QUOTES = 6
"""Items whose profiles are quoted in that of an auxiliary entity or a user."""
ENTITY_QUOTE_WORDS, USER_QUOTE_WORDS = 20, 12
"""Words of each quotation."""


class TemplateWriter:
    """Writes template profiles for a data set, one stage after the other.

    Parameters
    ----------
    data
        Names, facts, descriptions and training interactions.
    options
        Limits of words and neighbours.
    """

    def __init__(self, data: TrainingData, options: ProfileOptions) -> None:
        self._data, self._options = data, options
        self._names = [readable(name) for name in data.entities.names]
        phrases = [phrase(name) for name in data.relations.names]
        self._labels = [known.label for known in phrases] + [known.inverse_label for known in phrases]
        self._neighbours = neighbours_of(data.triples, data.num_entities, data.num_relations)
        told = self._neighbours.first_of_each_relation(options.neighbours)
        self._told_nodes = as_lists(told.offsets, told.nodes)
        self._told_relations = as_lists(told.offsets, told.relations)

    def items(self) -> list[str]:
        """Profiles of all items: title, description, facts by relation, and what is related at two hops."""
        words = self._options.item_words
        related = related_entities(self._neighbours, self._data.num_items, RELATED)
        return [
            limit_words([*self._about(item, words), self._listing("Related", also)], words)
            for item, also in enumerate(related)
        ]

    def auxiliary_entities(self, items: Sequence[str]) -> list[str]:
        """Profiles of the entities that are no items: name, description, facts, quotes from linked items' profiles.

        Parameters
        ----------
        items
            Profiles of all items [I].
        """
        words, num_items = self._options.entity_words, self._data.num_items
        linked = self._neighbours.below(num_items).first(QUOTES)
        chosen = as_lists(linked.offsets, linked.nodes)
        return [
            limit_words(
                [*self._about(entity, words), *self._quotes(chosen[entity], items, ENTITY_QUOTE_WORDS)], words
            )
            for entity in range(num_items, self._data.num_entities)
        ]

    def users(self, items: Sequence[str]) -> list[str]:
        """Profiles of all users: description, favourite attributes, titles, quotes from the items' profiles.

        All of it comes from training items; attributes by frequency, titles rarest first. A user with neither
        training items nor a description gets an empty text.

        Parameters
        ----------
        items
            Profiles of all items [I].
        """
        words, data = self._options.user_words, self._data
        favourites = favourite_attributes(self._neighbours, data.train, data.num_users, FAVOURITES)
        texts = []
        for user, history in enumerate(histories(data.train, data.num_users, data.num_items)):
            parts = [
                _description(data.descriptions.users, user, words),
                self._listing("Prefers", favourites[user]),
                self._listing("Liked", history, words // 2),
                *self._quotes(history[:QUOTES], items, USER_QUOTE_WORDS),
            ]
            texts.append(limit_words(parts, words))
        return texts

    def _about(self, entity: int, words: int) -> list[str]:
        """Name, description, and one line a relation, the one with the most telling fact first."""
        lines: dict[int, list[int]] = {}
        for relation, node in zip(self._told_relations[entity], self._told_nodes[entity], strict=True):
            lines.setdefault(relation, []).append(node)
        return [
            _as_sentence(self._names[entity]),
            _description(self._data.descriptions.entities, entity, words),
            *(self._listing(self._labels[relation], nodes) for relation, nodes in lines.items()),
        ]

    def _listing(self, label: str, entities: Iterable[int], words: int | None = None) -> str:
        """``Label: name, name.`` with as many whole names as the number of words allows."""
        names = [self._names[entity] for entity in entities]
        if words is not None:
            names = _names_within(names, words)
        return _as_sentence(f"{label}: {', '.join(names)}") if names else ""

    def _quotes(self, chosen: Iterable[int], items: Sequence[str], words: int) -> list[str]:
        """The beginnings of some items' profiles, with the title where the profile does not start with it."""
        return [_quote(self._names[item], items[item], words) for item in chosen]


def limit_words(parts: Iterable[str], words: int) -> str:
    """Join parts by spaces, empty ones left out; "..." marks where more than so many words were cut off."""
    return first_words(" ".join(parts), words)


def _description(descriptions: Mapping[int, str], row: int, words: int) -> str:
    """A description, cut where it would take more than half of the words from the facts."""
    text = limit_words([descriptions.get(row, "")], max(words // 2, 1))
    return _as_sentence(text) if text else ""


def _quote(title: str, profile: str, words: int) -> str:
    beginning = limit_words([profile], words)
    return _as_sentence(beginning if beginning.startswith(title) else f"{title}: {beginning}")


def _names_within(names: Iterable[str], words: int) -> list[str]:
    kept, left = [], words
    for name in names:
        left -= num_words(name)
        if left < 0:
            break
        kept.append(name)
    return kept


def _as_sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text.rstrip(',;:')}."
