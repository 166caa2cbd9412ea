"""Validation and test, sharded by users: each process ranks all items for its own users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from spike_dgl.data.dataset import Interactions
from spike_dgl.evaluation import EvaluationOptions
from spike_dgl.evaluation.cold_users import with_popularity
from spike_dgl.evaluation.evaluate import Split, isin_pairs, rank_users
from spike_dgl.models.base import Embeddings
from spike_dgl.partitions.layout import PartInteractions
from spike_dgl.training.distributed import Processes
from spike_dgl.typing import IndexArray


@dataclass(frozen=True)
class Ranked:
    """Lists and metrics of one process's users.

    Parameters
    ----------
    users
        Evaluated users [n], counted from the process's first.
    lists
        Ranked items [n, K].
    relevant
        Pairs that count as hits.
    per_user
        Metrics [n] by name.
    """

    users: IndexArray
    lists: IndexArray
    relevant: Interactions
    per_user: dict[str, NDArray[np.float64]]


def rank_own(
    embeddings: Embeddings, pairs: PartInteractions, split: Split, options: EvaluationOptions
) -> Ranked:
    """Rank all items for the users of a split that are this process's.

    The same as `spike_dgl.evaluation.evaluate` for these users, which fails where none has a relevant pair.
    """
    num_items = len(embeddings.items)
    seen = pairs.train if split == "valid" else pairs.train.union(pairs.valid)
    of_split = pairs.valid if split == "valid" else pairs.test
    relevant = of_split.select(~isin_pairs(of_split, seen, num_items))
    is_cold = np.isin(np.arange(len(embeddings.users)), pairs.train.users, invert=True)
    scores = with_popularity(embeddings.scores, is_cold, pairs.popularity)
    users, lists, metrics = rank_users(scores, seen, relevant, num_items, options)
    per_user = {name: values.numpy() for name, values in metrics.compute().items()}
    return Ranked(users, lists, relevant, per_user)


def means(ranked: Ranked, processes: Processes) -> dict[str, float]:
    """Return the mean of each metric over the users of all processes."""
    sums = [float(len(ranked.users)), *(float(values.sum()) for values in ranked.per_user.values())]
    (total,) = processes.add_up([torch.tensor(sums, dtype=torch.float64)])
    return dict(zip(ranked.per_user, (total[1:] / total[0].clamp(min=1)).tolist(), strict=True))
