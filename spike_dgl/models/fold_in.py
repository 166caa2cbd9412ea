"""Users and items that came after training: embedded from what the model knows, without training again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from spike_dgl.data.dataset import Dataset
from spike_dgl.profiles.encoders.encoder import unit_length
from spike_dgl.typing import FloatArray, IndexArray

PENALTIES = np.logspace(-4, 4, 9)
"""Ridge penalties that are tried; leaving out one training node at a time says which is best."""
LEAST_DEVIATION = 0.1
"""Least standard deviation that an input is divided by, as a share of the root mean square of all inputs.

Where training texts span fewer directions than their vectors have, the other directions hold rounding errors of 1e-8,
and a new text divided by those would score a million. On the data sets of docs/results.md no input is below it.
"""


@dataclass(frozen=True)
class NewItems:
    """What is known of n items that were not there in training.

    Parameters
    ----------
    number
        n.
    heads, relations, tails
        [T] their triples: which of the n, the relation, and the entity it leads to.
    vectors
        Text vectors [n, d_t]; zeros for an item without a text, None where none has one.
    """

    number: int
    heads: IndexArray
    relations: IndexArray
    tails: IndexArray
    vectors: FloatArray | None = None


class FoldIn(ABC):
    """Final embeddings of users and items that training never saw. Never changes.

    Their inner products with the embeddings of the others are scores.
    """

    @abstractmethod
    def users_of_items(self, histories: Sequence[IndexArray]) -> FloatArray:
        """[b, D] of users who like some items each; rows of items, added ones included."""

    @abstractmethod
    def users_of_profiles(self, vectors: FloatArray) -> FloatArray:
        """[b, D] of users of whom there is a text vector [b, d_t] only."""

    @abstractmethod
    def with_items(self, new: NewItems) -> tuple[FoldIn, FloatArray]:
        """One that knows further items, whose rows follow those of the items so far, and their embeddings [n, D]."""


@dataclass(frozen=True)
class Regression:
    """Ridge regression on inputs that are divided by their standard deviations, `LEAST_DEVIATION` at least.

    Parameters
    ----------
    divisors
        [d] of the inputs.
    ridge
        Fitted on the divided inputs.
    """

    divisors: FloatArray
    ridge: Any

    def predict(self, inputs: FloatArray) -> FloatArray:
        """Predict targets [n, D] from inputs [n, d]."""
        predicted: FloatArray = self.ridge.predict(inputs / self.divisors).astype(np.float32)
        return predicted


@dataclass(frozen=True)
class LinearFoldIn(FoldIn):
    """Ridge regressions on the embeddings that training found: an answer for every model.

    From the mean of a user's items to the user's embedding, from a user's text vector to it, and to an item's
    embedding from its text vector and from the items it shares entities with. Each is fitted on the nodes of the
    training data, and its penalty chosen by leaving out one of them at a time.

    Parameters
    ----------
    items
        Embeddings of all items [I, D], added ones last.
    of_items, of_profile
        The regressions of users; `of_profile` is None where the run has no profiles.
    of_item
        The regression of items.
    around
        [N, D] mean embedding of the items that are linked to each entity; nan where none is.
    of_length_one
        Whether embeddings are, because their inner products are to be cosines.
    """

    items: FloatArray
    of_items: Regression
    of_profile: Regression | None
    of_item: Regression
    around: FloatArray
    of_length_one: bool

    @classmethod
    def fit(
        cls, dataset: Dataset, users: FloatArray, items: FloatArray, vectors: Mapping[str, FloatArray]
    ) -> LinearFoldIn:
        """Fit the regressions.

        Parameters
        ----------
        dataset
            What the embeddings were trained on.
        users, items
            Final embeddings [U, D] and [I, D].
        vectors
            Text vectors of ``users`` [U, d_t] and ``entities`` [N, d_t]; empty without profiles.
        """
        liked = csr_matrix(
            (np.ones(len(dataset.train), np.float32), (dataset.train.users, dataset.train.items)),
            shape=(dataset.num_users, dataset.num_items),
        )
        counts = np.asarray(liked.sum(axis=1))
        active, seen = counts[:, 0] > 0, np.asarray(liked.sum(axis=0))[0] > 0
        means = (liked @ items)[active] / counts[active]
        near, around = _neighbourhoods(dataset, items)
        texts = vectors["entities"][: len(items)] if vectors else None
        described = active & vectors["users"].any(axis=1) if vectors else active
        return cls(
            items=items,
            of_items=_regression(means, users[active]),
            of_profile=_regression(vectors["users"][described], users[described]) if vectors else None,
            of_item=_regression(_features(near, texts)[seen], items[seen]),
            around=around,
            of_length_one=bool(np.allclose(np.linalg.norm(items, axis=1), 1.0, atol=1e-4)),
        )

    def users_of_items(self, histories: Sequence[IndexArray]) -> FloatArray:
        """[b, D] from the mean embedding of each user's items."""
        return self._predicted(self.of_items, np.stack([self.items[rows].mean(axis=0) for rows in histories]))

    def users_of_profiles(self, vectors: FloatArray) -> FloatArray:
        """[b, D] from text vectors [b, d_t]."""
        assert self.of_profile is not None
        return self._predicted(self.of_profile, vectors)

    def with_items(self, new: NewItems) -> tuple[LinearFoldIn, FloatArray]:
        """Items from their texts and from the items they share entities with."""
        known = ~np.isnan(self.around[new.tails, 0])
        heads, rows = new.heads[known], self.around[new.tails[known]]
        near = np.zeros((new.number, rows.shape[1]), np.float32)
        np.add.at(near, heads, rows)
        near /= np.maximum(np.bincount(heads, minlength=new.number), 1)[:, None]
        texts = new.vectors
        if texts is None and self.of_profile is not None:
            texts = np.zeros((new.number, len(self.of_profile.divisors)), np.float32)
        embedded = self._predicted(self.of_item, _features(near, texts))
        return replace(self, items=np.concatenate([self.items, embedded])), embedded

    def _predicted(self, regression: Regression, inputs: FloatArray) -> FloatArray:
        embedded = regression.predict(inputs)
        return unit_length(embedded) if self.of_length_one else embedded


def _neighbourhoods(dataset: Dataset, items: FloatArray) -> tuple[FloatArray, FloatArray]:
    """[I, D] the mean, over each item's entities, of the other items linked to them; and [N, D] of each entity."""
    triples, shape = dataset.triples, (dataset.num_items, dataset.num_entities)
    ends = np.concatenate([triples.heads, triples.tails]), np.concatenate([triples.tails, triples.heads])
    of_item = ends[0] < dataset.num_items
    linked = csr_matrix(
        (np.ones(of_item.sum(), np.float32), (ends[0][of_item], ends[1][of_item])), shape=shape
    )
    linked.data[:] = 1.0  # two relations between the same ends count once
    number = np.asarray(linked.sum(axis=0))[0]
    total = linked.T @ items
    others = np.divide(1.0, number - 1, out=np.zeros_like(number), where=number > 1)
    shared = np.maximum(linked @ (number > 1).astype(np.float32), 1.0)
    near = (linked @ (total * others[:, None]) - items * (linked @ others)[:, None]) / shared[:, None]
    around = np.full_like(total, np.nan)
    around[number > 0] = total[number > 0] / number[number > 0, None]
    return near, around


def _features(near: FloatArray, texts: FloatArray | None) -> FloatArray:
    return near if texts is None else np.concatenate([near, texts], axis=1)


def _regression(inputs: FloatArray, targets: FloatArray) -> Regression:
    # scikit-learn takes a second to import, and most programs never embed anybody new.
    from sklearn.linear_model import RidgeCV

    least = LEAST_DEVIATION * np.sqrt(np.square(inputs).mean())
    divisors = np.maximum(inputs.std(axis=0), least or 1.0)
    return Regression(divisors, RidgeCV(PENALTIES).fit(inputs / divisors, targets))
