"""Settings that say which data set is used, and how it is split."""

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
    """Which data a run uses.

    Parameters
    ----------
    path
        A data set's folder, or ``movielens`` for the bundled one.
    format
        ``auto`` (found by what the folder holds), or the name of a format.
    checksum
        First digits, eight at least, of the SHA-256 that the data must have, as ``environment.json`` of a run records
        it; null for any data. Settings that were tuned ask for the data they were tuned on.
    valid_fraction
        Share of each user's training interactions that becomes the validation part, where the data has none.
        With 0 there is none: nothing can be selected, and the last epoch is reported.
    split_seed
        Of that split, of the order of a user's interactions at the same time, and of the random choices below; apart
        from the training seed, so that seeds are compared on one split.
    inner_split
        Drop the validation and test splits, and split the training interactions by time in the same shares: the test
        split of this inner split chooses settings where validation, which follows training at once, is too unlike the
        real test split.
    kg_fraction
        Share of the triples that is kept, at random: a weaker knowledge graph. Smaller shares are parts of larger ones.
    permute_kg
        Give every item the triples of another one. Degrees stay and meaning goes: a gain that is left does not come
        from what the graph says.
    cold_items
        Share of the items, at random, all of whose interactions become test pairs. Their metrics stand apart, in
        the group of items without training users.
    hidden_users, hidden_items
        Shares of the users and items, at random, that are left out with all that the data says of them, as if they
        came after training; `spike_dgl.recommend.cold_start` embeds such.

    Templates and a language model's prompts are written from the data after these changes; texts and vectors that the
    data set brings stay as they are.
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
    """Load the data set that the options name, without the changes they ask for.

    Raises
    ------
    DataError
        As `spike_dgl.data.load_dataset` does, and if the data is not the one of ``checksum``.
    """
    dataset = load_dataset(
        options.path,
        format=options.format,
        valid_fraction=options.valid_fraction,
        seed=options.split_seed,
    )
    if options.checksum is not None and not dataset.checksum.startswith(options.checksum):
        raise DataError(
            options.path,
            f"is not the data that data.checksum={options.checksum} asks for: its checksum is {dataset.checksum[:16]}",
            "Name the folder of that data, or leave data.checksum out; settings that were tuned on other data may "
            "suit this one badly: tune them anew.",
        )
    return dataset


def load(options: DataOptions) -> Dataset:
    """Load the data set that the options name, with the changes they ask for; errors as of `load_as_it_is`."""
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
