"""Tiny film data set whose profiles can be written by hand."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from spike_dgl.data.dataset import Dataset, Interactions, Triples, Vocabulary

NAMES = ("Heat", "Ali", "Big_Fish", "Michael Mann", "Will Smith", "Drama", "Chicago")
HEAT, ALI, FISH, MANN, SMITH, DRAMA, CHICAGO = range(7)
DIRECTED, STARRING, GENRE, BIRTH = range(4)


def interactions(pairs: Iterable[tuple[int, int]]) -> Interactions:
    rows = np.array(list(pairs), np.int64).reshape(-1, 2)
    return Interactions.from_pairs(rows[:, 0], rows[:, 1])


def films(**changes: object) -> Dataset:
    """Three films, four other entities; user 0 likes Heat and Ali, user 1 Heat, user 2 nothing yet."""
    facts = [
        (HEAT, DIRECTED, MANN),
        (ALI, DIRECTED, MANN),
        (ALI, STARRING, SMITH),
        (HEAT, GENRE, DRAMA),
        (ALI, GENRE, DRAMA),
        (FISH, GENRE, DRAMA),
        (MANN, BIRTH, CHICAGO),
        (DRAMA, BIRTH, DRAMA),  # a self loop
    ]
    return Dataset(
        name="films",
        users=Vocabulary("user", ("ann", "bob", "eve")),
        items=Vocabulary("item", NAMES[:3]),
        entities=Vocabulary("entity", NAMES),
        relations=Vocabulary("relation", ("directed_by", "starring", "has_genre", "birthPlace")),
        train=interactions([(0, HEAT), (0, ALI), (1, HEAT)]),
        valid=interactions([(1, FISH)]),
        test=interactions([(2, ALI)]),
        triples=Triples.from_rows(np.array(facts)),
    ).replace(**changes)
