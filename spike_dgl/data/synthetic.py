"""Generated data sets of a given size, for benchmarks."""

from __future__ import annotations

import numpy as np

from spike_dgl.data.dataset import Dataset, Interactions, Triples, Vocabulary
from spike_dgl.typing import IndexArray


def synthetic_dataset(num_nodes: int, num_edges: int, num_relations: int, seed: int = 0) -> Dataset:
    """Return a random knowledge graph with interactions, with a skewed popularity of entities and items.

    Parameters
    ----------
    num_nodes
        Number of nodes U + N: one fifth users, two fifths items.
    num_edges
        Number of edges for attention: three quarters triples and their inverses, one quarter interactions. Repeated
        ones are dropped, so the graph has a few less.
    num_relations
        R.
    seed
        Random seed.
    """
    random = np.random.default_rng(seed)
    num_users, num_items = num_nodes // 5, 2 * num_nodes // 5
    num_entities = num_nodes - num_users
    num_triples, num_interactions = 3 * num_edges // 8, num_edges // 4
    triples = np.stack(
        [
            random.integers(0, num_entities, num_triples),
            random.integers(0, num_relations, num_triples),
            _unequal(random, num_entities, num_triples),
        ],
        axis=1,
    )
    users = random.integers(0, num_users, num_interactions)
    return Dataset(
        name=f"synthetic-{num_nodes}-{num_edges}-{num_relations}",
        users=_numbered("user", num_users),
        items=_numbered("item", num_items),
        entities=_numbered("entity", num_entities),
        relations=_numbered("relation", num_relations),
        train=Interactions.from_pairs(users, _unequal(random, num_items, num_interactions)),
        valid=Interactions.empty(),
        test=Interactions.empty(),
        triples=Triples.from_rows(triples),
    )


def _unequal(random: np.random.Generator, num_rows: int, size: int) -> IndexArray:
    """Draw rows with a skewed distribution: the first rows far more often than the last."""
    return (num_rows * random.random(size) ** 3).astype(np.int64)


def _numbered(kind: str, size: int) -> Vocabulary:
    return Vocabulary(kind, tuple(str(row) for row in range(size)))
