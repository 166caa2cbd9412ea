"""Fold-in: embed users and items that were added after training, without training again."""

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
"""Candidate ridge penalties; the best is chosen by leave-one-out validation on the training nodes."""
LEAST_DEVIATION = 0.1
"""Minimum standard deviation that an input is divided by, as a share of the root mean square of all inputs.

If the training texts span fewer dimensions than their vectors have, the other dimensions contain rounding errors of
1e-8. Dividing a new text by those would give scores around a million. No input of the datasets in docs/results.md is
below the minimum.
"""


@dataclass(frozen=True)
class NewItems:
    """Triples and texts of n items that were not in the training data.

    Parameters
    ----------
    number
        n.
    heads, relations, tails
        Triples [T]: position among the n items, relation, and entity row.
    vectors
        Text vectors [n, d_t]; zeros for an item without a text, None if no item has one.
    rows
        Rows [n] of training items that are treated as new, so that they are not their own neighbours; None if the items
        are new.
    """

    number: int
    heads: IndexArray
    relations: IndexArray
    tails: IndexArray
    vectors: FloatArray | None = None
    rows: IndexArray | None = None


class FoldIn(ABC):
    """Immutable embedder of users and items that were not in the training data.

    Inner products of its embeddings with those of the training nodes are scores.
    """

    @abstractmethod
    def users_of_items(self, histories: Sequence[IndexArray]) -> FloatArray:
        """Embed users [b, D] from the rows of the items they interacted with, which may be added items."""

    @abstractmethod
    def users_of_profiles(self, vectors: FloatArray) -> FloatArray:
        """Embed users [b, D] of whom only text vectors [b, d_t] are known."""

    @abstractmethod
    def with_items(self, new: NewItems) -> tuple[FoldIn, FloatArray]:
        """Return a fold-in with n more items, whose rows follow the items so far, and their embeddings [n, D]."""


@dataclass(frozen=True)
class JoinedFoldIn(FoldIn):
    """Fold-in of embeddings whose first dimensions are of one fold-in and whose others are of a second one."""

    first: FoldIn
    second: FoldIn

    def users_of_items(self, histories: Sequence[IndexArray]) -> FloatArray:
        """Embed users [b, D1 + D2] from the rows of the items they interacted with."""
        return _joined(self.first.users_of_items(histories), self.second.users_of_items(histories))

    def users_of_profiles(self, vectors: FloatArray) -> FloatArray:
        """Embed users [b, D1 + D2] from text vectors [b, d_t]."""
        return _joined(self.first.users_of_profiles(vectors), self.second.users_of_profiles(vectors))

    def with_items(self, new: NewItems) -> tuple[JoinedFoldIn, FloatArray]:
        """Add n items, and return their embeddings [n, D1 + D2]."""
        (first, own), (second, others) = self.first.with_items(new), self.second.with_items(new)
        return JoinedFoldIn(first, second), _joined(own, others)


def _joined(own: FloatArray, others: FloatArray) -> FloatArray:
    joined: FloatArray = np.concatenate([own, others], axis=1).astype(np.float32)
    return joined


@dataclass(frozen=True)
class Regression:
    """Ridge regression on inputs divided by their standard deviations; see `LEAST_DEVIATION`.

    Parameters
    ----------
    divisors
        Divisors [d] of the inputs.
    ridge
        Regression fitted on the divided inputs.
    """

    divisors: FloatArray
    ridge: Any

    def predict(self, inputs: FloatArray) -> FloatArray:
        """Predict targets [n, D] from inputs [n, d]."""
        predicted: FloatArray = self.ridge.predict(inputs / self.divisors).astype(np.float32)
        return predicted.reshape(len(inputs), -1)  # of a single target, scikit-learn predicts [n]


@dataclass(frozen=True)
class LinearFoldIn(FoldIn):
    """Fold-in by ridge regression on the trained embeddings, which works for every model.

    A user's embedding is predicted from the mean embedding of the user's items, or from the user's text vector. An
    item's embedding is predicted from its text vector and the embeddings of the items it shares entities with. Each
    regression is fitted on the training nodes, with its penalty chosen by leave-one-out validation.

    Parameters
    ----------
    items
        Embeddings of all items [I, D], added ones last.
    of_items, of_profile
        Regressions of users; `of_profile` is None if the run has no profiles.
    of_item
        Regression of items.
    near
        Mean embedding [I, D] of the other items around each training item.
    around
        Mean embedding [N, D] of the items linked to each entity; nan if there are none.
    unit_dims
        Number of first dimensions in which items have length 1, because the model's own scores are cosines; else 0.
    """

    items: FloatArray
    of_items: Regression
    of_profile: Regression | None
    of_item: Regression
    near: FloatArray
    around: FloatArray
    unit_dims: int

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        users: FloatArray,
        items: FloatArray,
        vectors: Mapping[str, FloatArray],
        *,
        own: int | None = None,
    ) -> LinearFoldIn:
        """Fit the regressions.

        Parameters
        ----------
        dataset
            Dataset that the embeddings were trained on.
        users, items
            Final embeddings [U, D] and [I, D].
        vectors
            Text vectors of ``users`` [U, d_t] and ``entities`` [N, d_t]; empty without profiles.
        own
            Number of first dimensions that are the model's own, before those of terms added to its scores. Default: D.
        """
        lengths = np.linalg.norm(items[:, :own], axis=1)
        own = items.shape[1] if own is None else own
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
            of_items=fit_regression(means, users[active]),
            of_profile=fit_regression(vectors["users"][described], users[described]) if vectors else None,
            of_item=fit_regression(_features(near, texts)[seen], items[seen]),
            near=near,
            around=around,
            unit_dims=own if np.allclose(lengths, 1.0, atol=1e-4) else 0,
        )

    def users_of_items(self, histories: Sequence[IndexArray]) -> FloatArray:
        """Embed users [b, D] from the mean embedding of each user's items."""
        return self._predicted(self.of_items, np.stack([self.items[rows].mean(axis=0) for rows in histories]))

    def users_of_profiles(self, vectors: FloatArray) -> FloatArray:
        """Embed users [b, D] from text vectors [b, d_t]."""
        assert self.of_profile is not None
        return self._predicted(self.of_profile, vectors)

    def with_items(self, new: NewItems) -> tuple[LinearFoldIn, FloatArray]:
        """Add items, embedded from their texts and from the items they share entities with."""
        known = ~np.isnan(self.around[new.tails, 0])
        heads, rows = new.heads[known], self.around[new.tails[known]]
        near = np.zeros((new.number, rows.shape[1]), np.float32)
        np.add.at(near, heads, rows)
        near /= np.maximum(np.bincount(heads, minlength=new.number), 1)[:, None]
        embedded = self.items_of(near, new.vectors)
        return replace(self, items=np.concatenate([self.items, embedded])), embedded

    def items_of(self, near: FloatArray, texts: FloatArray | None) -> FloatArray:
        """Embed items from the mean embeddings [n, D] of the items around them, and text vectors [n, d_t] if any."""
        if texts is None and self.of_profile is not None:
            texts = np.zeros((len(near), len(self.of_profile.divisors)), np.float32)
        return self._predicted(self.of_item, _features(near, texts))

    def _predicted(self, regression: Regression, inputs: FloatArray) -> FloatArray:
        return self.at_unit_length(regression.predict(inputs))

    def at_unit_length(self, embedded: FloatArray) -> FloatArray:
        """Return embeddings [n, D] with the length that those of trained items have, if it is 1."""
        if not self.unit_dims:
            return embedded
        own, of_terms = embedded[:, : self.unit_dims], embedded[:, self.unit_dims :]
        return np.concatenate([unit_length(own), of_terms], axis=1)


def _neighbourhoods(dataset: Dataset, items: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the mean embedding of the items around each item, [I, D], and around each entity, [N, D].

    Around an item: the mean, over its entities, of the other items linked to the entity.
    """
    triples, shape = dataset.triples, (dataset.num_items, dataset.num_entities)
    ends = np.concatenate([triples.heads, triples.tails]), np.concatenate([triples.tails, triples.heads])
    of_item = ends[0] < dataset.num_items
    linked = csr_matrix(
        (np.ones(of_item.sum(), np.float32), (ends[0][of_item], ends[1][of_item])), shape=shape
    )
    linked.data[:] = 1.0  # several relations between the same nodes count once
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


def fit_regression(inputs: FloatArray, targets: FloatArray) -> Regression:
    """Fit a regression of targets [n, D] on inputs [n, d], with the penalty chosen by leave-one-out validation."""
    # Imported here because scikit-learn takes a second to import, and few programs use fold-in.
    from sklearn.linear_model import RidgeCV

    least = LEAST_DEVIATION * np.sqrt(np.square(inputs).mean())
    divisors = np.maximum(inputs.std(axis=0), least or 1.0)
    return Regression(divisors, RidgeCV(PENALTIES).fit(inputs / divisors, targets))
