"""Matching of a query with the texts of items, and with those of the entities that items are linked to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from spike_dgl.data.dataset import Dataset
from spike_dgl.data.training import TrainingData
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.templates import TemplateWriter
from spike_dgl.typing import FloatArray, IndexArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SHORT = 6
"""Number of known words up to which a text is a query. Longer texts describe a whole taste, and match less and less."""


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

    @cached_property
    def _fitted(self) -> tuple[Any, Any] | None:
        """Vectorizer and vectors [n, V]; None if no text has a word."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        if not any(map(_terms, self.texts)):
            return None
        vectorizer = TfidfVectorizer(analyzer=_terms, sublinear_tf=True)
        return vectorizer, vectorizer.fit_transform(self.texts)


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
    heads, tails
        Item and auxiliary entity, counted from 0, of each triple between the two.
    num_trained
        Items of the training data, after which entities are numbered.
    """

    items: TextIndex
    entities: TextIndex
    heads: IndexArray
    tails: IndexArray
    num_trained: int

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
            triples.heads[joins],
            triples.tails[joins] - num_items,
            num_items,
        )

    def with_items(self, texts: Sequence[str], heads: IndexArray, tails: IndexArray) -> TextMatch:
        """Return a copy with more items.

        Parameters
        ----------
        texts
            Their texts [n].
        heads, tails
            Row of the item among the new ones, and row among all entities, of each of their triples.
        """
        joins = tails >= self.num_trained
        return replace(
            self,
            items=TextIndex((*self.items.texts, *texts)),
            heads=np.concatenate([self.heads, heads[joins] + len(self.items.texts)]),
            tails=np.concatenate([self.tails, tails[joins] - self.num_trained]),
        )

    def find(self, query: str) -> Match:
        """Match a query with all items."""
        of_items, of_entities = (index.cosines(query) for index in (self.items, self.entities))
        terms = set(_terms(query))
        known = sum(term in self.items.terms or term in self.entities.terms for term in terms)
        scores = standardised(of_items) + standardised(self._links @ of_entities)
        return Match(scores.astype(np.float32), known)

    @cached_property
    def _links(self) -> csr_matrix:
        from scipy.sparse import csr_matrix

        shape = (len(self.items.texts), len(self.entities.texts))
        return csr_matrix((np.ones(len(self.heads)), (self.heads, self.tails)), shape)


def standardised(scores: FloatArray) -> FloatArray:
    """Return scores [n] with mean 0 and standard deviation 1; zeros if all are equal."""
    deviation = float(scores.std())
    if not deviation > 1e-9 * (1 + float(np.abs(scores).max(initial=0.0))):
        return np.zeros_like(scores)
    centred: FloatArray = (scores - scores.mean()) / deviation
    return centred


def _terms(text: str) -> list[str]:
    """Stems of the words of a text, without English stop words."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return [_stem(word) for word in _words(text) if word not in ENGLISH_STOP_WORDS]


def _words(text: str) -> list[str]:
    return re.findall(r"\w\w+", text.lower())


@lru_cache(maxsize=200_000)
def _stem(word: str) -> str:
    import snowballstemmer

    return str(snowballstemmer.stemmer("english").stemWord(word))
