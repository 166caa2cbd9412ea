"""Inner split (nested validation): a split of the training split, to choose hyperparameters without the test split."""

from __future__ import annotations

from dataclasses import replace

from spike_dgl.data.controls import without_user_profiles
from spike_dgl.data.dataset import Dataset
from spike_dgl.data.splits import split_by_time
from spike_dgl.errors import MissingTimesError


def split_inner(dataset: Dataset, seed: int) -> Dataset:
    """Drop the validation and test splits, and split the training interactions by time in the same proportions.

    In a split by time, validation directly follows training, and the test split comes after both. Settings that predict
    the next interactions best need not predict later ones best. The inner test split has the same distance from its
    training split as the real one, and choosing settings on it does not use the real one (nested validation).

    Parameters
    ----------
    dataset
        Data set with times of training interactions, split by time.
    seed
        Random seed of the order of a user's interactions at the same time.

    Raises
    ------
    MissingTimesError
        If the data has no times.
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
        f"the validation and test splits are dropped, and the {len(whole):,} training pairs are split by time into "
        f"{len(train):,}, {len(valid):,} and {len(test):,} (data.inner_split=true)"
    )
    train = replace(train, tie_seed=whole.tie_seed)
    changed = dataset.replace(train=train, valid=valid, test=test, altered=(*dataset.altered, note))
    return without_user_profiles(changed)
