"""Metrics of top-k lists beyond accuracy: coverage, novelty, diversity and popularity bias.

No test item is needed for them. They describe all lists together, or are means over lists; there is no better direction
that holds for every use. `Evaluation.beyond_accuracy` computes all of them.

All functions take `lists` [n, I], a sparse matrix that is 1 where the item is in the user's list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spike_dgl.data.dataset import Dataset
from spike_dgl.typing import FloatArray, IndexArray

Lists: TypeAlias = sparse.csr_array
Numbers: TypeAlias = NDArray[np.float64]

BEYOND_ACCURACY: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "coverage": ("coverage", ".4f"),
        "novelty": ("novelty (bits)", ".2f"),
        "profile_diversity": ("diversity by profile", ".4f"),
        "fact_diversity": ("diversity by facts", ".4f"),
        "mean_popularity": ("mean popularity", ".1f"),
        "gini": ("Gini", ".4f"),
    }
)
"""Heading and number format by name."""

LONGEST_DIVERSE = 100
"""Largest cutoff of the two diversities, whose cost grows with its square."""
DIVERSE_LISTS = 10_000
"""Maximum number of lists in the two diversities; of more lists, a random sample."""
ITEMS_AT_ONCE = 500
"""Maximum number of items whose similarities are in memory at a time, unless a single list has more."""


def coverage(lists: Lists) -> float:
    """Return the catalogue coverage: the share of all items that are in at least one list.

    Source: Ge, Delgado-Battenfeld, Jannach, "Beyond Accuracy: Evaluating Recommender Systems by Coverage and
    Serendipity", RecSys 2010.
    """
    return float((_exposure(lists) > 0).mean())


def gini(lists: Lists) -> float:
    """Return the Gini index of exposure: 0 if all items are in equally many lists, 1 if all lists are one item.

    With the I items in ascending order of the number of lists that they are in, and p(j) the j-th item's share of all
    places::

        Gini = sum_j (2 j - I - 1) p(j) / (I - 1)

    Source: Shani, Gunawardana, "Evaluating Recommendation Systems", Recommender Systems Handbook, 2011.
    """
    exposure = np.sort(_exposure(lists))
    size = len(exposure)
    if size == 1:
        return 0.0
    return float((2 * np.arange(1, size + 1) - size - 1) @ exposure / exposure.sum() / (size - 1))


def novelty(lists: Lists, popularity: IndexArray, num_users: int) -> float:
    """Return the mean self-information of recommended items in bits, -log2 of the share of users who know the item.

    An item without training users counts as if it had one, so that the value is at most log2 U.
    Source: Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems", PNAS 107, 2010.

    Parameters
    ----------
    lists
        The lists [n, I].
    popularity
        Number of training users of each item [I].
    num_users
        U.
    """
    return _mean_over_lists(lists, np.log2(num_users / np.maximum(popularity, 1)))


def mean_popularity(lists: Lists, popularity: IndexArray) -> float:
    """Return the mean number of training users of recommended items, `popularity` [I].

    Source: Yin et al., "Challenging the Long Tail Recommendation", VLDB 2012; called average recommendation popularity
    (ARP) by Abdollahpouri, Burke, Mobasher, "Managing Popularity Bias in Recommender Systems with Personalized
    Re-ranking", FLAIRS 2019.
    """
    return _mean_over_lists(lists, popularity)


def profile_diversity(lists: Lists, vectors: FloatArray) -> float | None:
    """Return the intra-list diversity by profiles: the mean over pairs of a list of 1 - cosine of text vectors.

    Source: Zhang, Hurley, "Avoiding monotony: improving the diversity of recommendation lists", RecSys 2008, after the
    intra-list similarity of Ziegler et al., "Improving recommendation lists through topic diversification", WWW 2005.

    Parameters
    ----------
    lists
        The lists [n, I].
    vectors
        Text vectors [I, d_t]; zero for items without a profile, which are left out.

    Returns
    -------
    float or None
        None if no list has two items with a profile.
    """
    listed = np.unique(lists.indices)  # the others, of which there may be many, are not read
    lists, vectors = lists[:, listed], vectors[listed].astype(np.float32, copy=False)
    lengths = np.linalg.norm(vectors, axis=1)
    unit = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    sums = np.square(lists @ unit.astype(np.float64)).sum(axis=1)  # of cosines, over all pairs of a list
    return _mean_diversity(sums, lists @ (lengths > 0).astype(np.float64))


def fact_diversity(lists: Lists, facts: sparse.csr_array) -> float | None:
    """Return the intra-list diversity by facts: the mean over pairs of a list of 1 - Jaccard index of their facts.

    The facts of an item are the pairs (relation, tail) of the triples whose head it is.
    Source: see `profile_diversity`, which uses another similarity.

    Parameters
    ----------
    lists
        The lists [n, I].
    facts
        Sparse matrix [I, F] that is 1 where the item has the fact; see `facts_of_items`. Items without facts are left
        out.

    Returns
    -------
    float or None
        None if no list has two items with facts.
    """
    has_facts = (facts.sum(axis=1) > 0).astype(np.float64)
    return _mean_diversity(_jaccard_sums(lists, facts), lists @ has_facts)


def facts_of_items(dataset: Dataset) -> sparse.csr_array:
    """Return a sparse matrix [I, F] that is 1 where an item has a fact, a pair (relation, tail)."""
    triples = dataset.triples
    of_items = triples.heads < dataset.num_items
    keys = triples.relations[of_items] * dataset.num_entities + triples.tails[of_items]
    facts, columns = np.unique(keys, return_inverse=True)
    ones = np.ones(len(keys))
    return sparse.csr_array((ones, (triples.heads[of_items], columns)), (dataset.num_items, len(facts)))


def beyond_accuracy(
    ranked: IndexArray, dataset: Dataset, cutoffs: Sequence[int], item_vectors: FloatArray | None = None
) -> dict[str, float]:
    """Return all metrics of this module by names such as ``coverage@20``; see `Evaluation.beyond_accuracy`.

    Parameters
    ----------
    ranked
        Top-k lists [n, K], with negative rows where a list is shorter.
    dataset
        Training interactions and triples.
    cutoffs
        Cutoffs of the metrics, at most K.
    item_vectors
        Text vectors of items [I, d_t].
    """
    popularity = np.bincount(dataset.train.items, minlength=dataset.num_items)
    facts = facts_of_items(dataset)
    values: dict[tuple[str, int], float | None] = {}
    for k in cutoffs:
        lists = _matrix(ranked[:, :k], dataset.num_items)
        values["coverage", k], values["gini", k] = coverage(lists), gini(lists)
        values["novelty", k] = novelty(lists, popularity, dataset.num_users)
        values["mean_popularity", k] = mean_popularity(lists, popularity)
        if k <= LONGEST_DIVERSE:
            some = _sample(lists)
            values["fact_diversity", k] = fact_diversity(some, facts)
            if item_vectors is not None:
                values["profile_diversity", k] = profile_diversity(some, item_vectors)
    found = {f"{name}@{k}": values.get((name, k)) for name in BEYOND_ACCURACY for k in cutoffs}
    return {name: value for name, value in found.items() if value is not None}


def _matrix(ranked: IndexArray, num_items: int) -> Lists:
    users, places = np.nonzero(ranked >= 0)
    ones = np.ones(len(users))
    return sparse.csr_array((ones, (users, ranked[users, places])), (len(ranked), num_items))


def _exposure(lists: Lists) -> Numbers:
    """Return the number of lists that each item is in [I]."""
    counts: Numbers = lists.sum(axis=0)
    return counts


def _mean_over_lists(lists: Lists, of_items: NDArray[np.number]) -> float:
    """Return the mean over lists of the mean over their items of a number per item [I]."""
    return float((lists @ of_items.astype(np.float64) / lists.sum(axis=1)).mean())


def _mean_diversity(sums: Numbers, sizes: Numbers) -> float | None:
    """Return the mean of 1 - similarity over the pairs of a list, and over lists.

    `sums` [n] are over all ordered pairs of a list, each of its `sizes` [n] items with itself included.
    """
    has_pairs = sizes > 1
    sums, sizes = sums[has_pairs], sizes[has_pairs]
    return float((1 - (sums - sizes) / (sizes * (sizes - 1))).mean()) if len(sums) else None


def _sample(lists: Lists) -> Lists:
    if lists.shape[0] <= DIVERSE_LISTS:
        return lists
    chosen = np.random.default_rng(0).choice(lists.shape[0], DIVERSE_LISTS, replace=False)
    return lists[np.sort(chosen)]


def _jaccard_sums(lists: Lists, facts: sparse.csr_array) -> Numbers:
    """Return the sum of Jaccard indices over all ordered pairs of each list [n], items with themselves included."""
    items = np.unique(lists.indices)
    if len(items) > ITEMS_AT_ONCE and lists.shape[0] > 1:
        middle = lists.shape[0] // 2
        return np.concatenate([_jaccard_sums(half, facts) for half in (lists[:middle], lists[middle:])])
    own, lists = facts[items], lists[:, items]
    shared = (own @ own.T).toarray()
    sizes = shared.diagonal()
    jaccard = shared / np.maximum(sizes[:, None] + sizes - shared, 1)
    sums: Numbers = lists.multiply(lists @ jaccard).sum(axis=1)
    return sums
