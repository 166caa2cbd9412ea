"""Number of rows that a step reads per interaction, where no two interactions of the step share a row.

usage: python -m benchmarks.sampled_rows FOLDER    (of benchmarks.generated_graph)

The steps of a small graph read fewer, because their neighbourhoods overlap; this is the limit of large graphs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from spike_dgl.data import load_dataset
from spike_dgl.graph import build_graph
from spike_dgl.models.spike.options import SpikeOptions
from spike_dgl.models.spike.views import Views

FANOUT, DRAWS = (10, 10), 2000


def main(folder: Path) -> None:
    """Sample the neighbourhood of one interaction and one negative at a time, and print the mean number of rows."""
    data = load_dataset(folder, valid_fraction=0)
    views = Views(build_graph(data), data.num_items, SpikeOptions(fanout=FANOUT), torch.device("cpu"))
    assert views.sampler is not None
    random = np.random.default_rng(0)
    chosen = random.integers(len(data.train), size=DRAWS)
    users, positives = data.train.users[chosen], data.train.items[chosen] + data.num_users
    negatives = random.integers(data.num_items, size=DRAWS) + data.num_users
    sizes = [
        len(views.sampler.draw(torch.from_numpy(seeds)).input_nodes)
        for seeds in np.stack([users, positives, negatives], axis=1)
    ]
    print(
        f"{np.mean(sizes):.0f} rows per interaction (of at most {3 * (1 + FANOUT[0] + FANOUT[0] * FANOUT[1])})"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
