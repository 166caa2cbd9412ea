"""Full-ranking evaluation of one split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.errors import SpikeError
from spike_dgl.evaluation.metrics import RankingMetrics
from spike_dgl.evaluation.options import EvaluationOptions
from spike_dgl.evaluation.ranking import NO_ITEM, rank
from spike_dgl.models.base import ScoreFunction
from spike_dgl.typing import BoolArray, IndexArray

Split: TypeAlias = Literal["valid", "test"]
DEFAULTS = EvaluationOptions()


@dataclass(frozen=True)
class Evaluation:
    """What a model scored on a split, as means and for each user.

    Parameters
    ----------
    split
        ``valid`` or ``test``.
    cutoffs
        List lengths of the metrics.
    means
        Mean over the evaluated users, by names such as ``recall@20``.
    per_user
        The same metrics for each evaluated user [n].
    users
        Rows of the evaluated users [n], ascending.
    ranked
        Their lists of items [n, K], K the largest cut-off; `NO_ITEM` where no unseen item is left.
    relevant
        The pairs that count as hits.
    users_without_items
        Users left out because they have no pair in the split, or none besides those of `pairs_seen_before`.
    pairs_seen_before
        Pairs of the split that also stand in training (or, for the test, validation) data. Such items are
        left out of the lists, so they cannot be hit, and do not count as relevant.
    """

    split: Split
    cutoffs: tuple[int, ...]
    means: dict[str, float]
    per_user: dict[str, NDArray[np.float64]]
    users: IndexArray
    ranked: IndexArray
    relevant: Interactions
    users_without_items: int
    pairs_seen_before: int


def evaluate(
    score: ScoreFunction, dataset: Dataset, split: Split, options: EvaluationOptions = DEFAULTS
) -> Evaluation:
    """Rank all items for every user of a split, and score the lists.

    Parameters
    ----------
    score
        Gives the scores of all items for a few users; `Embeddings.scores` of what was trained, on the device that
        is to do the work.
    dataset
        Says which items are relevant, and which are left out of the lists because they are known already: the
        training items, and for the test the validation items as well.
    split
        ``valid`` or ``test``.
    options
        Cut-offs and chunk size.

    Raises
    ------
    SpikeError
        If the split holds nothing to evaluate on.
    NotFiniteError
        If scores are infinite or not a number.
    ValueError
        If the scores do not fit the data set.
    """
    seen, relevant, known = relevant_pairs(dataset, split)
    users, num_relevant = np.unique(relevant.users, return_counts=True)
    ranked = rank(
        score,
        torch.from_numpy(users),
        seen,
        num_items=dataset.num_items,
        k=max(options.cutoffs),
        chunk_size=options.chunk_size,
    ).numpy()
    metrics = RankingMetrics(options.cutoffs)
    hits = hit_matrix(users, ranked, relevant, dataset.num_items)
    metrics.update(torch.from_numpy(hits), torch.from_numpy(num_relevant))
    return Evaluation(
        split=split,
        cutoffs=options.cutoffs,
        means=metrics.means(),
        per_user={name: values.numpy() for name, values in metrics.compute().items()},
        users=users,
        ranked=ranked,
        relevant=relevant,
        users_without_items=dataset.num_users - len(users),
        pairs_seen_before=known,
    )


def relevant_pairs(dataset: Dataset, split: Split) -> tuple[Interactions, Interactions, int]:
    """Return the pairs that are left out of a split's lists, the pairs that count as hits, and how many do not count.

    Raises
    ------
    SpikeError
        If no pair counts as a hit.
    """
    seen = dataset.train if split == "valid" else dataset.train.union(dataset.valid)
    pairs = dataset.valid if split == "valid" else dataset.test
    is_known = isin_pairs(pairs, seen, dataset.num_items)
    if is_known.all():
        why = (
            f"all {len(pairs):,} of them stand in training or validation as well"
            if len(pairs)
            else "it has none"
        )
        raise SpikeError(
            f"data set '{dataset.name}' has no {split} pair to evaluate on: {why}\n"
            "  Give it pairs that training does not know, or for validation set data.valid_fraction above 0."
        )
    return seen, pairs.select(~is_known), int(is_known.sum())


def isin_pairs(pairs: Interactions, others: Interactions, num_items: int) -> BoolArray:
    """True for each of the `pairs` that also stands among the others."""
    return np.isin(pairs.keys(num_items), others.keys(num_items), assume_unique=True)


def hit_matrix(users: IndexArray, ranked: IndexArray, relevant: Interactions, num_items: int) -> BoolArray:
    """True [n, K] where the lists `ranked` [n, K] of the users [n] hold one of the relevant pairs."""
    keys = users[:, None] * num_items + ranked
    hits: BoolArray = np.isin(keys, relevant.keys(num_items)) & (ranked != NO_ITEM)
    return hits
