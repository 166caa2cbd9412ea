"""Settings of the data set and its split."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.data.controls import make_items_cold, permute_knowledge, thin_knowledge
from spike_dgl.data.dataset import Dataset
from spike_dgl.data.hiding import hide
from spike_dgl.data.inner_split import split_inner
from spike_dgl.data.load import load_dataset
from spike_dgl.errors import DataError


@dataclass(frozen=True, config=STRICT)
class DataOptions:
    """The data set of a run, its split, and changes for ablations.

    Parameters
    ----------
    path
        Folder of the data set, or ``movielens`` for the bundled one.
    format
        Name of a format; ``auto`` detects it from the folder's files.
    checksum
        First digits (at least 8) of the SHA-256 that the data must have, as recorded in a run's ``environment.json``;
        null accepts any data. Tuned settings use it to name the data they were tuned on.
    valid_fraction
        Share of each user's training interactions to use as validation split, if the data has none. With 0 there is no
        validation: the metrics of the last epoch are reported.
    split_seed
        Random seed of the validation split, of the order of a user's interactions at the same time, and of the random
        choices below. Separate from the training seed, so that runs with different seeds share one split.
    inner_split
        Drop the validation and test splits, and split the training interactions by time in the same proportions. Use
        the test split of this inner split to choose hyperparameters where the validation split, which directly follows
        training, differs too much from the real test split.
    kg_fraction
        Share of the triples to keep, chosen at random. The triples kept at a smaller share are a subset of those kept
        at a larger one.
    permute_kg
        Give every item the triples of another item, as a control: degrees stay the same, but the knowledge about items
        is wrong. A gain that remains does not come from that knowledge.
    cold_items
        Share of the items, chosen at random, whose interactions are all moved to the test split. Their metrics are
        reported separately, as the group of items without training users.
    hidden_users, hidden_items
        Share of the users or items, chosen at random, to remove with all their data, as if they arrived after
        training. `spike_dgl.recommend.cold_start` embeds them.

    Template profiles and prompts are written from the data after these changes. Texts and vectors that come with the
    data set stay unchanged.
    """

    path: str = "movielens"
    format: str = "auto"
    checksum: str | None = Field(default=None, pattern="^[0-9a-f]{8,64}$")
    valid_fraction: float = Field(default=0.1, ge=0.0, lt=1.0)
    split_seed: int = Field(default=2020, ge=0, le=2**63 - 1)
    inner_split: bool = False
    kg_fraction: float = Field(default=1.0, ge=0.0, le=1.0)
    permute_kg: bool = False
    cold_items: float = Field(default=0.0, ge=0.0, lt=1.0)
    hidden_users: float = Field(default=0.0, ge=0.0, lt=1.0)
    hidden_items: float = Field(default=0.0, ge=0.0, lt=1.0)


def load_as_it_is(options: DataOptions) -> Dataset:
    """Load the data set at `options.path`, without the changes that the options request.

    Raises
    ------
    DataError
        If `load_dataset` raises it, or if the data does not have the required ``checksum``.
    """
    dataset = load_dataset(
        options.path,
        format=options.format,
        valid_fraction=options.valid_fraction,
        seed=options.split_seed,
    )
    if options.checksum is not None and not dataset.has_checksum(options.checksum):
        raise DataError(
            options.path,
            f"has the checksum {dataset.checksum[:16]}, expected data.checksum={options.checksum}",
            "Use the folder of that data, or remove data.checksum. Settings tuned on other data may be poor for this "
            "data: tune them again.",
        )
    return dataset


def load(options: DataOptions) -> Dataset:
    """Load the data set at `options.path` and apply the requested changes; raises the errors of `load_as_it_is`."""
    dataset = load_as_it_is(options)
    if options.inner_split:
        dataset = split_inner(dataset, options.split_seed)
    if options.hidden_users or options.hidden_items:
        dataset = hide(dataset, options.hidden_users, options.hidden_items, options.split_seed)
    if options.kg_fraction < 1:
        dataset = thin_knowledge(dataset, options.kg_fraction, options.split_seed)
    if options.permute_kg:
        dataset = permute_knowledge(dataset, options.split_seed)
    if options.cold_items:
        dataset = make_items_cold(dataset, options.cold_items, options.split_seed)
    return dataset
