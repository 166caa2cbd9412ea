"""Matching of a query with the texts of items, and with those of the entities that items are linked to."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from spike_dgl.data.dataset import Dataset
from spike_dgl.data.training import TrainingData
from spike_dgl.profiles.facts import phrase, readable
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.templates import TemplateWriter
from spike_dgl.profiles.terms import fit_terms, terms, words_and_stems
from spike_dgl.recommend.matched import EntityMatch, ItemMatch, snippet, words_as_written
from spike_dgl.recommend.titles import Question, Titles
from spike_dgl.typing import FloatArray, IndexArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SHORT = 6
"""Number of known words up to which a text is a query. Longer texts describe a whole taste, and match less and less."""
MOST_ENTITIES = 3
"""Maximum number of entities that are shown as matched for an item."""
RARE = 5
"""Stems of examples that more than one text in five of those with the commonest stem has are not shown as matched."""
FAINT = 0.2
"""Share of the strongest entity's match below which an entity is not shown."""


@dataclass(frozen=True)
class Match:
    """Match of a query with all items.

    Parameters
    ----------
    scores
        Sum of the two standardised scores, [I].
    num_terms
        Number of different words of the query that occur in the texts.
    """

    scores: FloatArray
    num_terms: int

    @property
    def weight(self) -> float:
        """Weight of the match beside the model's score: 1 for a query, and close to 0 for a whole profile."""
        return min(1.0, SHORT / max(self.num_terms, 1)) ** 2


class TextIndex:
    """TF-IDF vectors of some texts, computed for the first query."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(texts)

    @property
    def terms(self) -> Mapping[str, int]:
        """Stems that occur in the texts."""
        return {} if self._fitted is None else self._fitted[0].vocabulary_

    def cosines(self, query: str) -> FloatArray:
        """Return the cosines [n] of a query with all texts."""
        if self._fitted is None:
            return np.zeros(len(self.texts), np.float32)
        vectorizer, vectors = self._fitted
        found: FloatArray = (vectors @ vectorizer.transform([query]).T).toarray().ravel()
        return found

    def shares(self, query: str, rows: Sequence[int], *, rare: bool = False) -> list[dict[str, float]]:
        """Return the stems of a query that each of some texts has, and the part of the cosine that each makes.

        With `rare`, those that many texts have are left out.
        """
        if self._fitted is None:
            return [{} for _ in rows]
        vectorizer, vectors = self._fitted
        least = vectorizer.idf_.min() + np.log(RARE) if rare else 0.0
        stems = [
            stem
            for stem in dict.fromkeys(terms(query))
            if stem in self.terms and vectorizer.idf_[self.terms[stem]] >= least
        ]
        columns = [self.terms[stem] for stem in stems]
        parts = vectors[rows][:, columns].toarray() * vectorizer.transform([query])[:, columns].toarray()
        return [
            {stem: part for stem, part in zip(stems, row, strict=True) if part > 0} for row in parts.tolist()
        ]

    @cached_property
    def _fitted(self) -> tuple[Any, Any] | None:
        """Vectorizer and vectors [n, V]; None if no text has a word."""
        return fit_terms(self.texts)


@dataclass(frozen=True)
class Links:
    """Triples [L] between items and auxiliary entities: rows of items, of relations, and of entities counted from 0."""

    items: IndexArray
    relations: IndexArray
    entities: IndexArray


@dataclass(frozen=True)
class TextMatch:
    """Index of texts: TF-IDF of word stems, for items and for auxiliary entities.

    An item matches a query by the cosine with its own text, and by the cosines with the texts of its entities, summed
    over its triples: the query "frightening" matches the profile of the genre horror, and so all horror films.

    Parameters
    ----------
    items
        Texts [I] of items: profile and facts.
    entities
        Texts [N - I] of auxiliary entities: name and profile.
    links
        Triples between items and auxiliary entities.
    relation_names, entity_names
        Names of relations [R] and auxiliary entities [N - I].
    num_trained
        Items of the training data, after which entities are numbered.
    titles
        Names of items, to find them in a query.
    """

    items: TextIndex
    entities: TextIndex
    links: Links
    relation_names: Sequence[str]
    entity_names: Sequence[str]
    num_trained: int
    titles: Titles = field(default=Titles((), np.empty(0, np.int64)))

    @classmethod
    def from_texts(cls, dataset: Dataset, entity_texts: Sequence[str], options: ProfileOptions) -> TextMatch:
        """Create from the profile texts [N] of a run, items first."""
        num_items, triples = dataset.num_items, dataset.triples
        facts = TemplateWriter(TrainingData.from_dataset(dataset), options).items()
        items = (
            text if text == fact else f"{text} {fact}"
            for text, fact in zip(entity_texts[:num_items], facts, strict=True)
        )
        names = dataset.entities.names[num_items:]
        entities = (f"{name} {text}" for name, text in zip(names, entity_texts[num_items:], strict=True))
        joins = (triples.heads < num_items) & (triples.tails >= num_items)
        return cls(
            TextIndex(items),
            TextIndex(entities),
            Links(triples.heads[joins], triples.relations[joins], triples.tails[joins] - num_items),
            dataset.relations.names,
            names,
            num_items,
            Titles(dataset.items.names, np.bincount(dataset.train.items, minlength=num_items)),
        )

    def with_items(self, names: Sequence[str], texts: Sequence[str], new: Links) -> TextMatch:
        """Return a copy with more items.

        Parameters
        ----------
        names, texts
            Their names and texts [n]. A name is matched with the text.
        new
            Their triples: row of the item among the new ones, and row among all entities.
        """
        joins, links = new.entities >= self.num_trained, self.links
        return replace(
            self,
            items=TextIndex(
                (
                    *self.items.texts,
                    *(f"{name} {text}".strip() for name, text in zip(names, texts, strict=True)),
                )
            ),
            titles=self.titles.with_names(names),
            links=Links(
                np.concatenate([links.items, new.items[joins] + len(self.items.texts)]),
                np.concatenate([links.relations, new.relations[joins]]),
                np.concatenate([links.entities, new.entities[joins] - self.num_trained]),
            ),
        )

    def text_of(self, items: Iterable[int]) -> str:
        """Return the texts of some items, given by row, as one query."""
        return " ".join(self.items.texts[row] for row in items)

    def find(self, query: str) -> Match:
        """Match a query, without regard to titles, with all items."""
        of_items, of_entities = (index.cosines(query) for index in (self.items, self.entities))
        known = len(set(terms(query))) - len(self.unknown_words(query))
        scores = standardised(of_items) + standardised(self._joined @ of_entities)
        return Match(scores.astype(np.float32), known)

    def unknown_words(self, query: str) -> tuple[str, ...]:
        """Return the words of a query, as written, that occur in no text; stop words are left out."""
        written = {stem: word[0] for word, stem in words_and_stems(query)}
        known = (self.items.terms, self.entities.terms)
        return tuple(word for stem, word in written.items() if not any(stem in each for each in known))

    def explain(self, asked: Question, rows: Sequence[int]) -> list[ItemMatch]:
        """Return what matches in some items, given by row: words of the query, and facts and words of its examples."""
        texts = [self.items.texts[row] for row in rows]
        # Years and other numbers of the examples' facts say little, and would outweigh words, because they are rare.
        examples = re.sub(r"[0-9]+", " ", self.text_of(asked.liked))
        shares = [
            {**in_common, **of_query}
            for in_common, of_query in zip(
                self.items.shares(examples, rows, rare=True), self.items.shares(asked.rest, rows), strict=True
            )
        ]
        return [
            ItemMatch(words_as_written(text, weights), snippet(text, weights), entities)
            for text, weights, entities in zip(texts, shares, self._entity_matches(asked, rows), strict=True)
        ]

    def _entity_matches(self, asked: Question, rows: Sequence[int]) -> Iterator[tuple[EntityMatch, ...]]:
        """Yield the entities of each item that match, those with the largest part of its score first."""
        of_items = self._matched_entities(asked, rows)
        entities = sorted({entity for relations in of_items for entity in relations})
        words = {
            entity: words_as_written(self.entities.texts[entity], weights)
            for entity, weights in zip(entities, self.entities.shares(asked.rest, entities), strict=True)
        }
        for found in of_items:
            yield tuple(
                EntityMatch(
                    ", ".join(_relation_in_words(self.relation_names[relation]) for relation in relations),
                    readable(self.entity_names[entity]),
                    words[entity],
                )
                for entity, relations in found.items()
            )

    def _matched_entities(self, asked: Question, rows: Sequence[int]) -> list[dict[int, list[int]]]:
        """Return for each item the entities that match most, and its relations to them."""
        strength, links = self.entities.cosines(asked.rest), self.links
        shared = np.unique(links.entities[np.isin(links.items, asked.liked)])
        # The fewer items have a fact, the more it says that an example has it, too.
        strength[shared] += 1 / np.log2(2 + np.bincount(links.entities, minlength=len(strength))[shared])
        of_rows = np.flatnonzero(np.isin(links.items, rows) & (strength[links.entities] > 0))
        found = {row: defaultdict[int, list[int]](list) for row in rows}
        for link in of_rows.tolist():
            found[int(links.items[link])][int(links.entities[link])].append(int(links.relations[link]))
        return [_strongest(found[row], strength) for row in rows]

    @cached_property
    def _joined(self) -> csr_matrix:
        """Number of triples [I, N - I] of each item with each entity."""
        from scipy.sparse import csr_matrix

        shape = (len(self.items.texts), len(self.entities.texts))
        return csr_matrix((np.ones(len(self.links.items)), (self.links.items, self.links.entities)), shape)


def _strongest(found: Mapping[int, list[int]], matches: FloatArray) -> dict[int, list[int]]:
    """Return the entities of an item that match most, summed over its relations to them."""
    strength = {entity: float(len(relations) * matches[entity]) for entity, relations in found.items()}
    least = FAINT * max(strength.values(), default=0.0)
    best = sorted(strength, key=lambda entity: -strength[entity])[:MOST_ENTITIES]
    return {entity: found[entity] for entity in best if strength[entity] >= least}


def _relation_in_words(name: str) -> str:
    label = phrase(name).label
    return label[:1].lower() + label[1:]


def standardised(scores: FloatArray) -> FloatArray:
    """Return scores [n] with mean 0 and standard deviation 1; zeros if all are equal."""
    deviation = float(scores.std())
    if not deviation > 1e-9 * (1 + float(np.abs(scores).max(initial=0.0))):
        return np.zeros_like(scores)
    centred: FloatArray = (scores - scores.mean()) / deviation
    return centred
