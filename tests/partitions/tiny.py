"""A small data set in the authors' format, for training on partitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

USERS, ITEMS = 60, 50


def write_tiny(folder: Path) -> None:
    """Write users who like items of their own parity, with triples that give the parity of items."""
    folder.mkdir()
    random = np.random.default_rng(0)
    train, test = [], []
    for user in range(USERS):
        liked = random.permutation(np.arange(user % 2, ITEMS, 2))[:16]
        train.append(" ".join(map(str, [user, *liked[:12]])))
        test.append(" ".join(map(str, [user, *liked[12:]])))
    (folder / "train.txt").write_text("\n".join(train) + "\n")
    (folder / "test.txt").write_text("\n".join(test) + "\n")
    triples = [f"{item} {item % 3} {ITEMS + item % 4}\n" for item in range(ITEMS)]
    (folder / "kg_final.txt").write_text("".join(triples))
