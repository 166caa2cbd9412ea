"""Template profiles, without a language model: paragraphs made from facts, bottom-up.

Items are described by their facts, auxiliary entities by the items they are linked to, users by the items of their
training history. Each stage quotes the profiles of the previous one, so ready-made profiles of items also affect
those of entities and users. Nothing is random; `spike_dgl.profiles.neighbours` selects the facts.
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
"""Maximum number of entities two hops away in an item's profile."""
FAVOURITES = 12
"""Maximum number of attributes of the training items in a user's profile."""
QUOTES = 6
"""Maximum number of items quoted in the profile of an auxiliary entity or a user."""
ENTITY_QUOTE_WORDS, USER_QUOTE_WORDS = 20, 12
"""Maximum number of words per quotation."""


class TemplateWriter:
    """Writer of template profiles for a data set, one stage at a time.

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
        listed = self._neighbours.first_of_each_relation(options.neighbours)
        self._listed_nodes = as_lists(listed.offsets, listed.nodes)
        self._listed_relations = as_lists(listed.offsets, listed.relations)

    def items(self) -> list[str]:
        """Write the profiles of all items: title, description, facts by relation, and entities two hops away."""
        words = self._options.item_words
        related = related_entities(self._neighbours, self._data.num_items, RELATED)
        return [
            limit_words([*self._about(item, words), self._listing("Related", also)], words)
            for item, also in enumerate(related)
        ]

    def auxiliary_entities(self, items: Sequence[str]) -> list[str]:
        """Write the profiles of auxiliary entities: name, description, facts, and quotes from linked items' profiles.

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
        """Write the profiles of all users: description, favourite attributes, titles, and quotes from items' profiles.

        Only training items are used. Attributes are ordered by frequency, titles by popularity, lowest first. A user
        with neither training items nor a description gets an empty text.

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
        """Return name, description, and one sentence per relation, the one with the most informative fact first."""
        lines: dict[int, list[int]] = {}
        for relation, node in zip(self._listed_relations[entity], self._listed_nodes[entity], strict=True):
            lines.setdefault(relation, []).append(node)
        return [
            _as_sentence(self._names[entity]),
            _description(self._data.descriptions.entities, entity, words),
            *(self._listing(self._labels[relation], nodes) for relation, nodes in lines.items()),
        ]

    def _listing(self, label: str, entities: Iterable[int], words: int | None = None) -> str:
        """Return ``Label: name, name.`` with at most `words` words of names; no name is cut."""
        names = [self._names[entity] for entity in entities]
        if words is not None:
            names = _names_within(names, words)
        return _as_sentence(f"{label}: {', '.join(names)}") if names else ""

    def _quotes(self, chosen: Iterable[int], items: Sequence[str], words: int) -> list[str]:
        """Return the beginnings of the chosen items' profiles, after the title unless the profile starts with it."""
        return [_quote(self._names[item], items[item], words) for item in chosen]


def limit_words(parts: Iterable[str], words: int) -> str:
    """Join parts by spaces and cut the text after `words` words; "..." marks the cut."""
    return first_words(" ".join(parts), words)


def _description(descriptions: Mapping[int, str], row: int, words: int) -> str:
    """Return a description, cut after half of the words so that facts have room."""
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
