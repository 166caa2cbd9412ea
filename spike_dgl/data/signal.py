"""Whether a knowledge graph tells anything about what users like: measured without training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, diags

from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.typing import IndexArray

CUTOFF = 20
FEWEST_USERS = 50
"""With fewer users, chance decides."""
MOST_USERS = 1000
"""More would make it no clearer, only slower."""
BLOCK = 64
"""Users that are scored at a time."""
CLEARLY = 3.0
"""Standard errors of the difference between users."""


@dataclass(frozen=True)
class Signal:
    """Recall@20 of three ways to rank, means over some users.

    Parameters
    ----------
    graph
        By what the items of the user have in common with others in the knowledge graph.
    permuted
        The same after every item was given the facts of another, at random.
    random
        By drawing items at random, in expectation.
    error
        Standard error of `graph` - `permuted`.
    """

    graph: float
    permuted: float
    random: float
    error: float

    @property
    def is_there(self) -> bool:
        """Whether facts of the right items are clearly better than facts of wrong ones."""
        return self.graph - self.permuted > CLEARLY * self.error

    def __str__(self) -> str:
        return (
            f"recall@{CUTOFF} by the graph alone {self.graph:.4f}, with its items permuted {self.permuted:.4f}, "
            f"at random {self.random:.4f}"
        )


def knowledge_signal(dataset: Dataset, seed: int = 0) -> Signal | None:
    """Rank items by knowledge alone, and see how many held-out items are found; None with too few users or items.

    An item is a vector over its facts (relation, direction, entity), each weighing log(I / items with that fact); its
    score is the sum of its cosines to the user's training items. Asked for are test items, or validation items where
    there is no test part; training items are left out.
    """
    held_out = dataset.test if len(dataset.test) else dataset.valid
    users = np.intersect1d(held_out.users, dataset.train.users)
    if len(users) < FEWEST_USERS or dataset.num_items < 2 * CUTOFF:
        return None
    random = np.random.default_rng(seed)
    users = np.sort(random.choice(users, min(len(users), MOST_USERS), replace=False))
    vectors = _item_vectors(dataset)
    permuted = vectors[random.permutation(dataset.num_items)]
    train, asked = _rows(dataset.train, users, dataset.num_items), _rows(held_out, users, dataset.num_items)
    graph, shuffled = (_recall(candidate, train, asked, seed) for candidate in (vectors, permuted))
    candidates = dataset.num_items - np.diff(train.indptr)
    difference = graph - shuffled
    return Signal(
        graph=float(graph.mean()),
        permuted=float(shuffled.mean()),
        random=float(np.minimum(CUTOFF / np.maximum(candidates, 1), 1.0).mean()),
        error=float(difference.std() / np.sqrt(len(users))),
    )


def _item_vectors(dataset: Dataset) -> csr_matrix:
    """Facts of each item, weighted, of length 1 [I, facts]."""
    triples, size = dataset.triples, dataset.num_entities
    outward = triples.relations * size + triples.tails
    inward = (triples.relations + dataset.num_relations) * size + triples.heads
    ends, facts = np.concatenate([triples.heads, triples.tails]), np.concatenate([outward, inward])
    of_items = ends < dataset.num_items
    facts, columns = np.unique(facts[of_items], return_inverse=True)
    shape = (dataset.num_items, len(facts))
    matrix = csr_matrix((np.ones(of_items.sum()), (ends[of_items], columns)), shape)
    weights = np.log(dataset.num_items / np.maximum(np.bincount(columns, minlength=len(facts)), 1))
    weighted = matrix @ diags(weights)
    lengths = np.sqrt(weighted.multiply(weighted).sum(axis=1)).A1 if weighted.nnz else np.zeros(shape[0])
    return csr_matrix(diags(1.0 / np.where(lengths > 0, lengths, 1.0)) @ weighted)


def _rows(pairs: Interactions, users: IndexArray, num_items: int) -> csr_matrix:
    """Which items each of some users has [users, I]."""
    chosen = np.isin(pairs.users, users)
    rows = np.searchsorted(users, pairs.users[chosen])
    ones = np.ones(len(rows), dtype=np.float64)
    return csr_matrix((ones, (rows, pairs.items[chosen])), (len(users), num_items))


def _recall(vectors: csr_matrix, train: csr_matrix, asked: csr_matrix, seed: int) -> np.ndarray:
    """Share of each user's asked items among the best [users]."""
    found = np.zeros(train.shape[0])
    random = np.random.default_rng(seed)
    for start in range(0, train.shape[0], BLOCK):
        block = slice(start, start + BLOCK)
        scores = (train[block] @ vectors @ vectors.T).toarray()
        scores += 1e-9 * random.random(scores.shape)  # ties are drawn
        scores[train[block].nonzero()] = -np.inf
        best = np.argpartition(-scores, CUTOFF, axis=1)[:, :CUTOFF]
        found[block] = np.take_along_axis(asked[block].toarray(), best, axis=1).sum(axis=1)
    recall: np.ndarray = found / np.diff(asked.indptr)
    return recall
