"""Changes made on purpose: a weaker or a meaningless knowledge graph, and items without training interactions.

They show what a result rests on. Each is reproducible, and none touches which test pairs are right.
"""

from __future__ import annotations

import numpy as np

from spike_dgl.data.dataset import Dataset, Interactions, Triples
from spike_dgl.data.splits import random_priorities
from spike_dgl.typing import IndexArray


def thin_knowledge(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Keep a random share of the triples; a smaller share is part of a larger one.

    All entities and relations stay, those that lose their last triple too.

    Parameters
    ----------
    dataset
        The data.
    fraction
        Share of the triples that is kept, from 0 to 1.
    seed
        Of the choice.
    """
    triples = dataset.triples
    kept = chosen_share(len(triples), fraction, seed)
    note = f"{len(kept):,} of {len(triples):,} triples are kept, at random (data.kg_fraction={fraction:g})"
    thinned = Triples(triples.heads[kept], triples.relations[kept], triples.tails[kept])
    return dataset.replace(triples=thinned, altered=(*dataset.altered, note))


def permute_knowledge(dataset: Dataset, seed: int) -> Dataset:
    """Give every item the triples of another one: the graph keeps its shape, and what it says about items goes.

    The new graph is the old one with other names on its items, so the numbers of triples a relation, the degrees of
    auxiliary entities and how often each degree occurs among items are exactly as before.

    Parameters
    ----------
    dataset
        The data.
    seed
        Of the permutation.
    """
    entities = np.arange(dataset.num_entities)
    entities[: dataset.num_items] = one_cycle(dataset.num_items, seed)
    triples = dataset.triples
    rows = np.stack([entities[triples.heads], triples.relations, entities[triples.tails]], axis=1)
    note = "every item has the triples of another one (data.permute_kg=true)"
    return dataset.replace(triples=Triples.from_rows(rows), altered=(*dataset.altered, note))


def make_items_cold(dataset: Dataset, share: float, seed: int) -> Dataset:
    """Move all interactions of some items into the test part: training and validation know nothing of them.

    They are moved rather than left out, so that what a user is known to like never counts as a wrong recommendation.

    Parameters
    ----------
    dataset
        The data.
    share
        Share of the items, from 0 to 1. A smaller share is part of a larger one.
    seed
        Of the choice.
    """
    is_cold = np.zeros(dataset.num_items, dtype=bool)
    is_cold[chosen_share(dataset.num_items, share, seed)] = True
    train, valid = (part.select(~is_cold[part.items]) for part in (dataset.train, dataset.valid))
    moved = Interactions.empty()
    for part in (dataset.train, dataset.valid):
        moved = moved.union(part.select(is_cold[part.items]))
    note = (
        f"all interactions of {int(is_cold.sum()):,} random items are test pairs, {len(moved):,} of them taken "
        f"from training and validation (data.cold_items={share:g})"
    )
    test = dataset.test.union(moved)
    return dataset.replace(train=train, valid=valid, test=test, altered=(*dataset.altered, note))


def one_cycle(size: int, seed: int) -> IndexArray:
    """A random permutation [n] that leaves nothing where it was, as long as there are two rows.

    It is one cycle through all rows in random order.
    """
    order = np.argsort(random_priorities(size, seed), kind="stable")
    permutation = np.empty(size, dtype=np.int64)
    permutation[order] = np.roll(order, -1)
    return permutation


def chosen_share(size: int, share: float, seed: int) -> IndexArray:
    """Ascending positions of a random share of `size` things; for one seed a smaller share is part of a larger one."""
    number = int(np.floor(size * share + 0.5))
    chosen: IndexArray = np.sort(np.argsort(random_priorities(size, seed), kind="stable")[:number])
    return chosen
