"""Small recommendation problems, and simple, slow reference metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from spike_dgl.data.dataset import Dataset, Interactions, Triples, Vocabulary

Pairs = Iterable[tuple[int, int]]


def interactions(pairs: Pairs) -> Interactions:
    rows = np.array(list(pairs), np.int64).reshape(-1, 2)
    return Interactions.from_pairs(rows[:, 0], rows[:, 1])


def problem(num_users: int, num_items: int, train: Pairs, valid: Pairs, test: Pairs) -> Dataset:
    def vocabulary(kind: str, size: int) -> Vocabulary:
        return Vocabulary(kind, tuple(f"{kind}{row}" for row in range(size)))

    return Dataset(
        name="tiny",
        users=vocabulary("user", num_users),
        items=vocabulary("item", num_items),
        entities=vocabulary("item", num_items),
        relations=vocabulary("relation", 1),
        train=interactions(train),
        valid=interactions(valid),
        test=interactions(test),
        triples=Triples.from_rows(np.empty((0, 3), np.int64)),
    )


def items_of(pairs: Interactions, user: int) -> set[int]:
    return {int(item) for row, item in zip(pairs.users, pairs.items, strict=True) if row == user}


def slow_ranking(scores: Iterable[float], seen: set[int], k: int) -> list[int]:
    """Return unseen items by descending score, ties by ascending row."""
    unseen = [(-score, item) for item, score in enumerate(scores) if item not in seen]
    return [item for _, item in sorted(unseen)[:k]]


def slow_metrics(ranked: list[int], relevant: set[int], k: int, longest: int) -> dict[str, float]:
    """Return all metrics of one user, from the list of items and the set of relevant items."""
    hits = [item in relevant for item in ranked]
    gain = sum(1 / math.log2(place + 2) for place in range(min(k, len(hits))) if hits[place])

    def ideal(count: int) -> float:
        return sum(1 / math.log2(place + 2) for place in range(min(k, count)))

    found = sum(hits[:longest])
    first = next((place for place, is_hit in enumerate(hits[:k], start=1) if is_hit), None)
    return {
        f"recall@{k}": sum(hits[:k]) / len(relevant),
        f"precision@{k}": sum(hits[:k]) / k,
        f"hit@{k}": float(any(hits[:k])),
        f"mrr@{k}": 1 / first if first else 0.0,
        f"ndcg@{k}": gain / ideal(len(relevant)),
        f"kgat_ndcg@{k}": gain / ideal(found) if found else 0.0,
    }
