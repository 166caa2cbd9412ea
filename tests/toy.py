"""Small datasets with known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spike_dgl.data.dataset import Dataset, Interactions, Triples, Vocabulary


def dataset(
    pairs: list[tuple[int, int]],
    triples: list[tuple[int, int, int]],
    *,
    sizes: tuple[int, int, int, int],
    valid: list[tuple[int, int]] | None = None,
    test: list[tuple[int, int]] | None = None,
) -> Dataset:
    """Create a dataset from lists of rows; `sizes` are (users, items, entities, relations)."""
    U, I, N, R = sizes  # noqa: E741
    return Dataset(
        name="toy",
        users=Vocabulary("user", tuple(f"u{row}" for row in range(U))),
        items=Vocabulary("item", tuple(f"i{row}" for row in range(I))),
        entities=Vocabulary("entity", tuple(f"e{row}" for row in range(N))),
        relations=Vocabulary("relation", tuple(f"r{row}" for row in range(R))),
        train=interactions(pairs),
        valid=interactions(valid or []),
        test=interactions(test or []),
        triples=Triples.from_rows(np.array(triples, dtype=np.int64).reshape(-1, 3)),
    )


def interactions(pairs: list[tuple[int, int]]) -> Interactions:
    """Create interactions from (user, item) rows."""
    rows = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Interactions.from_pairs(rows[:, 0], rows[:, 1])


def sequence(size: int = 20, num_users: int = 60, length: int = 8) -> Dataset:
    """Create users who interact with consecutive items of a ring; the next ones are held out: valid, then test.

    Every item co-occurs with its neighbours on both sides, so only the order of time predicts the next one.
    """
    pairs, times, valid, test = [], [], [], []
    for user in range(num_users):
        walk = [(user * 7 + step) % size for step in range(length + 2)]
        pairs += [(user, item) for item in walk[:length]]
        times += range(length)
        valid.append((user, walk[length]))
        test.append((user, walk[length + 1]))
    made = dataset(pairs, [], sizes=(num_users, size, size, 1), valid=valid, test=test)
    order = np.lexsort(np.array(pairs).T[::-1])
    return made.replace(train=replace(made.train, times=np.array(times, np.float64)[order]))


def random_dataset(
    seed: int, *, sizes: tuple[int, int, int, int] = (7, 9, 15, 3), density: int = 30
) -> Dataset:
    """Create a random graph; the last entity has no triple."""
    U, I, N, R = sizes  # noqa: E741
    random = np.random.default_rng(seed)
    pairs = np.stack([random.integers(0, U, density), random.integers(0, I, density)], axis=1)
    rows = np.stack(
        [
            random.integers(0, N - 1, density),
            random.integers(0, R, density),
            random.integers(0, N - 1, density),
        ],
        axis=1,
    )
    return dataset([tuple(p) for p in pairs], [tuple(t) for t in rows], sizes=sizes)


def with_random_times(data: Dataset, seed: int = 0) -> Dataset:
    """Return a dataset whose training interactions happened in random order."""
    times = np.random.default_rng(seed).permutation(len(data.train)).astype(np.float64)
    return data.replace(train=replace(data.train, times=times))


def checkerboard(size: int = 20, test_share: float = 0.2, seed: int = 0) -> Dataset:
    """Create users who like items of their own parity (colour), with triples that give the parity of items.

    A fifth of each user's items is held out for validation and test. A model that learns anything ranks the held-out
    items of a user's own colour before all of the other colour.
    """
    random = np.random.default_rng(seed)
    pairs, valid, test = [], [], []
    for user in range(size):
        liked = random.permutation(np.arange(user % 2, size, 2))
        cut = max(1, int(len(liked) * test_share))
        test += [(user, int(item)) for item in liked[:cut]]
        valid += [(user, int(item)) for item in liked[cut : 2 * cut]]
        pairs += [(user, int(item)) for item in liked[2 * cut :]]
    triples = [(item, 0, size + item % 2) for item in range(size)]
    return dataset(pairs, triples, sizes=(size, size, size + 2, 1), valid=valid, test=test)
