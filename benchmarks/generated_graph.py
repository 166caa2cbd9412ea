"""Write a generated data set of any size, to measure training on partitions.

usage: python -m benchmarks.generated_graph NODES FOLDER [OF_USERS]

`spike_dgl.data.synthetic` with ten edges for attention per node and 20 relations, but only a quarter of an
interaction per node, so that an epoch is short, and only those of one of OF_USERS users, by default of all. One
interaction of each of the first 1,000 users with several is held out for the test.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from spike_dgl.data.dataset import Interactions
from spike_dgl.data.synthetic import synthetic_dataset

RELATIONS, TEST_USERS = 20, 1000
EDGES_PER_NODE, OF_INTERACTIONS = 13, 13
"""Edges per node, of which 9.75 are triples and their inverses; and interactions drawn per one that is written."""


def main(num_nodes: int, folder: Path, of_users: int = 1) -> None:
    """Write the data set in the SPiKE authors' format."""
    data = synthetic_dataset(num_nodes, EDGES_PER_NODE * num_nodes, RELATIONS)
    folder.mkdir(parents=True)
    pairs = data.train.select(np.arange(0, len(data.train), OF_INTERACTIONS))
    pairs = pairs.select(np.flatnonzero(pairs.users % of_users == 0))
    starts = pairs.offsets(data.num_users)
    lasts = starts[1:][np.diff(starts) > 1][:TEST_USERS] - 1
    _write(folder / "test.txt", pairs.select(lasts))
    _write(folder / "train.txt", pairs.select(np.setdiff1d(np.arange(len(pairs)), lasts)))
    triples = np.stack([data.triples.heads, data.triples.relations, data.triples.tails], axis=1)
    np.savetxt(folder / "kg_final.txt", triples, fmt="%d")
    # With lists, users and items without interactions are nodes as well.
    for kind, number in (("user", data.num_users), ("item", data.num_items)):
        rows = np.arange(number).repeat(2).reshape(-1, 2)
        np.savetxt(folder / f"{kind}_list.txt", rows, fmt="%d", header="org_id remap_id", comments="")


def _write(file: Path, pairs: Interactions) -> None:
    users, firsts = np.unique(pairs.users, return_index=True)
    with file.open("w") as stream:
        for user, items in zip(users, np.split(pairs.items, firsts[1:]), strict=True):
            stream.write(f"{user} {' '.join(map(str, items))}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
