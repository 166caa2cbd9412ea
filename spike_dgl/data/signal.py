"""Signal of the knowledge graph and of the training split: recall of simple rankings that need no training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags

from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.typing import IndexArray

CUTOFF = 20
MIN_USERS = 50
"""Minimum number of users: with fewer, the result is mostly chance."""
MAX_USERS = 1000
"""Maximum number of users: more would only be slower."""
NUMBERING_USERS = 300
"""Number of users to detect a numbering mistake, which has a large effect."""
BLOCK = 64
"""Number of users to score at a time."""
SIGNAL_ERRORS = 3.0
"""Minimum difference, in standard errors over users, for a signal."""
MISTAKE_ERRORS = 5.0
"""Minimum difference, in standard errors over users, for a numbering mistake."""


@dataclass(frozen=True)
class Signal:
    """Recall@20 of three rankings, means over a sample of users.

    Parameters
    ----------
    by
        Source of the items' features: "the graph" or "other users".
    recall
        Recall when ranking items by similarity to the user's training items.
    permuted
        Recall with the items' features permuted at random.
    random
        Expected recall of a random ranking.
    error
        Standard error of `recall` - `permuted`.
    mistake
        Numbering mistake whose correction clearly raises recall; empty if there is none.
    """

    by: str
    recall: float
    permuted: float
    random: float
    error: float
    mistake: str = ""

    @property
    def is_there(self) -> bool:
        """True if the items' own features are clearly better than permuted ones."""
        return self.exceeds(SIGNAL_ERRORS)

    def exceeds(self, errors: float) -> bool:
        """Return whether `recall` exceeds `permuted` by more than `errors` standard errors."""
        return self.recall - self.permuted > errors * self.error

    def __str__(self) -> str:
        return (
            f"recall@{CUTOFF} by {self.by} alone {self.recall:.4f}, with items permuted {self.permuted:.4f}, "
            f"at random {self.random:.4f}"
        )


def knowledge_signal(dataset: Dataset, seed: int = 0) -> Signal | None:
    """Measure the recall of ranking items by their facts alone; None if there are too few users or items.

    An item is a vector over its facts (relation, direction, entity) with weights log(I / number of items with the
    fact). Its score is the sum of its cosine similarities to the user's training items. Relevant are the test items, or
    the validation items if there is no test split; training items are excluded.
    """
    task = _Task.sample(dataset.train, _held_out(dataset), dataset.num_items, MAX_USERS, seed)
    if task is None:
        return None
    vectors, subset = _vectors_by_facts(dataset), task.subsample(NUMBERING_USERS)
    rows = np.arange(dataset.num_items)
    following, preceding = (vectors[np.clip(rows + step, 0, rows[-1])] for step in (1, -1))
    renumbered = {
        "items count from 1 in the graph and from 0 in the interactions": subset.recall(following),
        "items count from 1 in the interactions and from 0 in the graph": subset.recall(preceding),
    }
    return task.signal("the graph", vectors, subset.recall(vectors), renumbered)


def interaction_signal(dataset: Dataset, seed: int = 0) -> Signal | None:
    """Measure the recall of ranking items by their training users, as `knowledge_signal` does by their facts.

    An item is a vector over the users who have it in the training split.
    """
    task = _Task.sample(dataset.train, _held_out(dataset), dataset.num_items, NUMBERING_USERS, seed)
    if task is None:
        return None
    train = dataset.train
    ones = np.ones(len(train))
    matrix = csr_matrix((ones, (train.items, train.users)), (dataset.num_items, dataset.num_users))
    vectors = _weighted(matrix)
    renumbered = {
        "items count from 1 in the test split and from 0 in training": task.shifted(-1).recall(vectors),
        "items count from 1 in training and from 0 in the test split": task.shifted(1).recall(vectors),
    }
    return task.signal("other users", vectors, task.recall(vectors), renumbered)


def _held_out(dataset: Dataset) -> Interactions:
    return dataset.test if len(dataset.test) else dataset.valid


@dataclass(frozen=True)
class _Task:
    """Sampled users' training items `train` and held-out items `held_out`, both [users, I]."""

    train: csr_matrix
    held_out: csr_matrix
    random: np.random.Generator
    seed: int

    @classmethod
    def sample(
        cls, train: Interactions, held_out: Interactions, num_items: int, most: int, seed: int
    ) -> _Task | None:
        users = np.intersect1d(held_out.users, train.users)
        if len(users) < MIN_USERS or num_items < 2 * CUTOFF:
            return None
        random = np.random.default_rng(seed)
        users = np.sort(random.choice(users, min(len(users), most), replace=False))
        return cls(_rows(train, users, num_items), _rows(held_out, users, num_items), random, seed)

    def subsample(self, most: int) -> _Task:
        """Return the task for at most `most` of the users."""
        chosen = np.unique(np.linspace(0, self.train.shape[0] - 1, most).astype(int))
        return replace(self, train=self.train[chosen], held_out=self.held_out[chosen])

    def shifted(self, step: int) -> _Task:
        """Return the task with the held-out items' rows shifted by `step`."""
        users, items = self.held_out.nonzero()
        items = items + step
        inside = (items >= 0) & (items < self.held_out.shape[1])
        ones = np.ones(inside.sum())
        return replace(self, held_out=csr_matrix((ones, (users[inside], items[inside])), self.held_out.shape))

    def recall(self, vectors: csr_matrix) -> NDArray[np.float64]:
        """Return the recall of each user [users]."""
        found = np.zeros(self.train.shape[0])
        random = np.random.default_rng(self.seed)
        for start in range(0, len(found), BLOCK):
            block = slice(start, start + BLOCK)
            scores = (self.train[block] @ vectors @ vectors.T).toarray()
            scores += 1e-9 * random.random(scores.shape)  # break ties at random
            scores[self.train[block].nonzero()] = -np.inf
            best = np.argpartition(-scores, CUTOFF, axis=1)[:, :CUTOFF]
            found[block] = np.take_along_axis(self.held_out[block].toarray(), best, axis=1).sum(axis=1)
        recall: NDArray[np.float64] = found / np.maximum(np.diff(self.held_out.indptr), 1)
        return recall

    def signal(
        self,
        by: str,
        vectors: csr_matrix,
        baseline: NDArray[np.float64],
        renumbered: Mapping[str, NDArray[np.float64]],
    ) -> Signal:
        """Compare recall with that of permuted vectors and, for a subset of users, with that of other numberings."""
        recall = self.recall(vectors)
        permuted = self.recall(vectors[self.random.permutation(vectors.shape[0])])
        candidates = self.train.shape[1] - np.diff(self.train.indptr)
        gains = {mistake: other - baseline for mistake, other in renumbered.items()}
        found = [
            mistake for mistake, gain in gains.items() if gain.mean() > MISTAKE_ERRORS * _standard_error(gain)
        ]
        return Signal(
            by=by,
            recall=float(recall.mean()),
            permuted=float(permuted.mean()),
            random=float(np.minimum(CUTOFF / np.maximum(candidates, 1), 1.0).mean()),
            error=_standard_error(recall - permuted),
            mistake=max(found, key=lambda mistake: gains[mistake].mean(), default=""),
        )


def _standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std() / np.sqrt(len(values)))


def _vectors_by_facts(dataset: Dataset) -> csr_matrix:
    """Return weighted fact vectors of the items, of length 1 [I, facts]."""
    triples, size = dataset.triples, dataset.num_entities
    outward = triples.relations * size + triples.tails
    inward = (triples.relations + dataset.num_relations) * size + triples.heads
    ends, facts = np.concatenate([triples.heads, triples.tails]), np.concatenate([outward, inward])
    of_items = ends < dataset.num_items
    facts, columns = np.unique(facts[of_items], return_inverse=True)
    return _weighted(
        csr_matrix((np.ones(of_items.sum()), (ends[of_items], columns)), (dataset.num_items, len(facts)))
    )


def _weighted(matrix: csr_matrix) -> csr_matrix:
    """Weight features [I, features] by log(I / number of items with the feature); normalise rows to length 1."""
    shared = np.bincount(matrix.indices, minlength=matrix.shape[1])
    weighted = matrix @ diags(np.log(matrix.shape[0] / np.maximum(shared, 1)))
    lengths = (
        np.sqrt(weighted.multiply(weighted).sum(axis=1)).A1 if weighted.nnz else np.zeros(matrix.shape[0])
    )
    return csr_matrix(diags(1.0 / np.where(lengths > 0, lengths, 1.0)) @ weighted)


def _rows(pairs: Interactions, users: IndexArray, num_items: int) -> csr_matrix:
    """Return the items of each of `users` as a sparse matrix [users, I]."""
    chosen = np.isin(pairs.users, users)
    rows = np.searchsorted(users, pairs.users[chosen])
    ones = np.ones(len(rows), dtype=np.float64)
    return csr_matrix((ones, (rows, pairs.items[chosen])), (len(users), num_items))
