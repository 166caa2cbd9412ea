"""The training part split as the whole was, to choose settings by what comes as late as the test part."""

from __future__ import annotations

from dataclasses import replace

from spike_dgl.data.dataset import Dataset
from spike_dgl.data.splits import split_by_time
from spike_dgl.errors import MissingTimesError


def rehearse(dataset: Dataset, seed: int) -> Dataset:
    """Forget what is held out, and hold out as much of the training part, by time.

    In a split by time the validation part follows the training part at once, and the test part comes after both. What
    foretells the next interactions best need not foretell those that come later. A rehearsal has a test part of
    that kind, and settings chosen by it have not seen the real one.

    Parameters
    ----------
    dataset
        Data that says when training interactions happened, with validation and test parts that come after them.
    seed
        Of the order of a user's interactions at the same time.

    Raises
    ------
    MissingTimesError
        If it does not say so.
    """
    whole = dataset.train
    if whole.times is None:
        raise MissingTimesError("data.rehearsal", "true", "false")
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
        f"place: {len(train):,}, {len(valid):,} and {len(test):,} (data.rehearsal=true)"
    )
    train = replace(train, tie_seed=whole.tie_seed)
    return dataset.replace(train=train, valid=valid, test=test, altered=(*dataset.altered, note))
