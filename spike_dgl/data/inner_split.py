"""The inner split: the training split divided as the whole was, to choose settings without the test split."""

from __future__ import annotations

from dataclasses import replace

from spike_dgl.data.dataset import Dataset
from spike_dgl.data.splits import split_by_time
from spike_dgl.errors import MissingTimesError


def split_inner(dataset: Dataset, seed: int) -> Dataset:
    """Drop the validation and test splits, and split the training interactions by time in the same shares.

    In a split by time validation follows training at once, and the test split comes after both. What predicts the
    next interactions best need not predict those that come later. The test split of the inner split comes as late as
    the real one, which settings chosen by it have not seen (nested validation).

    Parameters
    ----------
    dataset
        Data with times of training interactions, whose validation and test splits come after them.
    seed
        Of the order of a user's interactions at the same time.

    Raises
    ------
    MissingTimesError
        If it has no times.
    """
    whole = dataset.train
    if whole.times is None:
        raise MissingTimesError("data.inner_split", "true", "false")
    total = len(whole) + len(dataset.valid) + len(dataset.test)
    train, valid, test = split_by_time(
        whole.users,
        whole.items,
        whole.times,
        valid_fraction=len(dataset.valid) / total,
        test_fraction=len(dataset.test) / total,
        seed=seed,
    )
    note = (
        f"validation and test parts are forgotten, and the {len(whole):,} training pairs split by time in their "
        f"place: {len(train):,}, {len(valid):,} and {len(test):,} (data.inner_split=true)"
    )
    train = replace(train, tie_seed=whole.tie_seed)
    return dataset.replace(train=train, valid=valid, test=test, altered=(*dataset.altered, note))
