"""Full-ranking evaluation of one split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.errors import SpikeError
from spike_dgl.evaluation.beyond_accuracy import beyond_accuracy
from spike_dgl.evaluation.metrics import RankingMetrics
from spike_dgl.evaluation.options import EvaluationOptions
from spike_dgl.evaluation.ranking import NO_ITEM, rank
from spike_dgl.models.base import ScoreFunction
from spike_dgl.typing import BoolArray, FloatArray, IndexArray

Split: TypeAlias = Literal["valid", "test"]
DEFAULTS = EvaluationOptions()


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a model on one split: means and values per user.

    Parameters
    ----------
    split
        ``valid`` or ``test``.
    cutoffs
        Cutoffs of the metrics (list lengths).
    means
        Mean over the evaluated users, keyed by names such as ``recall@20``.
    per_user
        The same metrics per evaluated user [n].
    users
        Rows of the evaluated users [n], ascending.
    ranked
        Top-k lists of these users [n, K]; K is the largest cutoff. `NO_ITEM` where no unseen item is left.
    relevant
        User-item pairs that count as hits.
    users_without_items
        Number of users left out because they have no relevant pair in the split.
    pairs_seen_before
        Number of pairs of the split that also occur in the training split (for the test split: or in the validation
        split). Their items are excluded from the lists, so these pairs do not count as relevant.
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

    @property
    def shown_cutoff(self) -> int:
        """Cutoff nearest to 20, for tables with a single cutoff."""
        return min(self.cutoffs, key=lambda k: abs(k - 20))

    def beyond_accuracy(self, dataset: Dataset, item_vectors: FloatArray | None = None) -> dict[str, float]:
        """Return coverage, novelty, diversity and popularity bias of the lists, by names such as ``coverage@20``.

        The definitions and their sources are those of `spike_dgl.evaluation.beyond_accuracy`. They are not in `means`
        and `per_user`, and not tested for significance: some describe all lists together, and none has a better
        direction that holds for every use.

        Parameters
        ----------
        dataset
            The data set of the evaluation. Its training interactions are the popularity of items, and its triples the
            facts.
        item_vectors
            Text vectors of items [I, d_t], zero without a profile; None leaves out ``profile_diversity``.

        Returns
        -------
        dict of float
            Both diversities are left out where no list has two items to compare, and at cutoffs above 100. For more
            than 10,000 users, they are means over a random sample of 10,000.

        Examples
        --------
        Popularity recommends 5 % of the films in all lists together:

        >>> import numpy as np, torch
        >>> import spike_dgl
        >>> dataset = spike_dgl.load_dataset("movielens")
        >>> popularity = torch.from_numpy(np.bincount(dataset.train.items, minlength=dataset.num_items))
        >>> result = spike_dgl.evaluate(lambda users: popularity.float().expand(len(users), -1), dataset, "test")
        >>> round(result.beyond_accuracy(dataset)["coverage@20"], 2)
        0.05
        """
        return beyond_accuracy(self.ranked, dataset, self.cutoffs, item_vectors)


def evaluate(
    score: ScoreFunction, dataset: Dataset, split: Split, options: EvaluationOptions = DEFAULTS
) -> Evaluation:
    """Rank all items for every user of a split and compute the metrics.

    Parameters
    ----------
    score
        Function that returns the scores of all items for a batch of users, such as `Embeddings.scores` of a trained
        model. Its device does the work.
    dataset
        The data set. A user's training items are excluded from their list; for the test split, the validation items
        too.
    split
        ``valid`` or ``test``.
    options
        Cutoffs and chunk size.

    Raises
    ------
    SpikeError
        If the split has no relevant pair.
    NotFiniteError
        If scores are infinite or not a number.
    ValueError
        If the scores have the wrong shape.

    Examples
    --------
    Any scores are evaluated in the same way, here the popularity of items:

    >>> import numpy as np, torch
    >>> import spike_dgl
    >>> dataset = spike_dgl.load_dataset("movielens")
    >>> popularity = torch.from_numpy(np.bincount(dataset.train.items, minlength=dataset.num_items))
    >>> result = spike_dgl.evaluate(lambda users: popularity.float().expand(len(users), -1), dataset, "test")
    >>> round(result.means["recall@20"], 4)
    0.0816
    """
    seen, relevant, known = relevant_pairs(dataset, split)
    users, ranked, metrics = rank_users(score, seen, relevant, dataset.num_items, options)
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


def rank_users(
    score: ScoreFunction,
    seen: Interactions,
    relevant: Interactions,
    num_items: int,
    options: EvaluationOptions,
) -> tuple[IndexArray, IndexArray, RankingMetrics]:
    """Return the users [n] with a relevant pair, ascending, their lists [n, K] of unseen items, and the metrics."""
    users, num_relevant = np.unique(relevant.users, return_counts=True)
    ranked = rank(
        score,
        torch.from_numpy(users),
        seen,
        num_items=num_items,
        k=max(options.cutoffs),
        chunk_size=options.chunk_size,
    ).numpy()
    metrics = RankingMetrics(options.cutoffs)
    hits = hit_matrix(users, ranked, relevant, num_items)
    metrics.update(torch.from_numpy(hits), torch.from_numpy(num_relevant))
    return users, ranked, metrics


def relevant_pairs(dataset: Dataset, split: Split) -> tuple[Interactions, Interactions, int]:
    """Return the pairs excluded from a split's lists, its relevant pairs, and the number of its excluded pairs.

    Raises
    ------
    SpikeError
        If no pair is relevant.
    """
    seen = dataset.train if split == "valid" else dataset.train.union(dataset.valid)
    pairs = dataset.valid if split == "valid" else dataset.test
    is_known = isin_pairs(pairs, seen, dataset.num_items)
    if is_known.all():
        why = (
            f"all {len(pairs):,} pairs are in the training or validation split too"
            if len(pairs)
            else "the split is empty"
        )
        raise SpikeError(
            f"data set '{dataset.name}' has no {split} pair to evaluate on: {why}\n"
            "  Add pairs that are not in the training split; for validation, set data.valid_fraction above 0."
        )
    return seen, pairs.select(~is_known), int(is_known.sum())


def isin_pairs(pairs: Interactions, others: Interactions, num_items: int) -> BoolArray:
    """True where a pair is also in `others`."""
    return np.isin(pairs.keys(num_items), others.keys(num_items), assume_unique=True)


def hit_matrix(users: IndexArray, ranked: IndexArray, relevant: Interactions, num_items: int) -> BoolArray:
    """True [n, K] where an item in the lists `ranked` [n, K] of `users` [n] is relevant."""
    keys = users[:, None] * num_items + ranked
    hits: BoolArray = np.isin(keys, relevant.keys(num_items)) & (ranked != NO_ITEM)
    return hits
