"""Settings that say which data set is used, and how it is split."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.data.dataset import Dataset
from spike_dgl.data.load import load_dataset


@dataclass(frozen=True, config=STRICT)
class DataOptions:
    """Which data a run uses.

    Parameters
    ----------
    path
        A data set's folder, or ``movielens`` for the bundled one.
    format
        ``auto`` (found by what the folder holds), or the name of a format.
    valid_fraction
        Share of each user's training interactions that becomes the validation part, where the data has none.
        With 0 there is none: nothing can be selected, and the last epoch is reported.
    split_seed
        Of that split; apart from the training seed, so that seeds are compared on one split.
    """

    path: str = "movielens"
    format: str = "auto"
    valid_fraction: float = Field(default=0.1, ge=0.0, lt=1.0)
    split_seed: int = Field(default=2020, ge=0)


def load(options: DataOptions) -> Dataset:
    """The data set that the options name; see `spike_dgl.data.load_dataset`."""
    return load_dataset(
        options.path,
        format=options.format,
        valid_fraction=options.valid_fraction,
        seed=options.split_seed,
    )
