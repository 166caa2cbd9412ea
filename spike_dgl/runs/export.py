"""Runs for other libraries to check: the split in their format, our lists and our metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from spike_dgl.data.dataset import Dataset
from spike_dgl.data.export import cornac, recbole
from spike_dgl.data.export.tables import raw_pairs, write_table
from spike_dgl.errors import ConfigError, SpikeError
from spike_dgl.evaluation import Evaluation, evaluate
from spike_dgl.evaluation.ranking import NO_ITEM
from spike_dgl.models.base import ScoreFunction
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.set_up import reopen

ExportFormat: TypeAlias = Literal["recbole", "cornac"]
FORMATS = {"recbole": recbole, "cornac": cornac}

LIST_LENGTH = 100
"""Items in the list of each test user."""
LEFT_OUT = "kgat_ndcg"
"""It depends on the length of the lists, and other libraries have no such metric."""

LISTS = f"""`relevant.tsv` and `*.lists.tsv` are qrels and runs of TREC, with tabs between the columns. A list has at
most {LIST_LENGTH} items. Items of a user's training and validation part are in no list, and are not relevant. Of
equal scores the rank says which comes first: the item that stands first in the data, also for `*.users.tsv`."""


def export_runs(runs: Mapping[str, Path], folder: Path, format: ExportFormat) -> None:
    """Write the split of some runs, and for each its lists and metrics on the test part.

    ====================== =====================================================================
    ``DATA/``              the split, as the other library reads it
    ``relevant.tsv``       user, 0, item, 1: what counts as a hit (the qrels of TREC)
    ``NAME.lists.tsv``     user, Q0, item, rank, score, NAME: the best 100 items (a run of TREC)
    ``NAME.users.tsv``     metrics of each test user
    ``README.md``          how to read all of it
    ====================== =====================================================================

    Parameters
    ----------
    runs
        Run folders by the names that their files get.
    folder
        Is made; it must be new or empty.
    format
        ``recbole`` or ``cornac``.

    Raises
    ------
    SpikeError
        Where the folder holds something, or a run is not trained to the end.
    ConfigError
        Where the runs have different splits.
    """
    if folder.exists() and any(folder.iterdir()):
        raise SpikeError(f"{folder} already holds files\n  Name another folder, or empty it.")
    split_hash: str | None = None
    for name, run in runs.items():
        experiment = reopen(RunFolder.open(run))
        scores, dataset = experiment.best_scores(), experiment.dataset
        options = experiment.config.evaluation
        cutoffs = tuple(sorted({*options.cutoffs, LIST_LENGTH}))
        test = evaluate(scores, dataset, "test", dataclasses.replace(options, cutoffs=cutoffs))
        if split_hash is None:
            split_hash = dataset.split_hash
            _write_split(dataset, test, folder, format)
        elif dataset.split_hash != split_hash:
            raise ConfigError(f"{run} has another split than the runs before it\n  Export it by itself.")
        write_table(folder / f"{name}.lists.tsv", _lists(dataset, test, scores, name))
        write_table(folder / f"{name}.users.tsv", _user_metrics(dataset, test))


def _write_split(dataset: Dataset, test: Evaluation, folder: Path, format: ExportFormat) -> None:
    data = folder / dataset.name
    data.mkdir(parents=True)
    library = FORMATS[format]
    library.write(dataset, data)
    relevant = raw_pairs(dataset, test.relevant)
    write_table(folder / "relevant.tsv", ((user, "0", item, "1") for user, item in relevant))
    text = f"{library.how_to_read(dataset, data)}\n\n{LISTS}\n"
    (folder / "README.md").write_text(text, encoding="utf-8")


def _lists(dataset: Dataset, test: Evaluation, scores: ScoreFunction, name: str) -> Iterator[tuple[str, ...]]:
    for user, items, values in zip(test.users, test.ranked, _list_scores(test, scores), strict=True):
        raw_user = dataset.users.ids[user]
        for rank, (item, value) in enumerate(zip(items, values, strict=True), start=1):
            if item != NO_ITEM:
                # Nine digits tell every two numbers of float32 apart.
                yield raw_user, "Q0", dataset.items.ids[item], str(rank), f"{value:.9g}", name


@torch.no_grad()
def _list_scores(test: Evaluation, scores: ScoreFunction, chunk_size: int = 256) -> Iterator[list[float]]:
    """Scores of each user's listed items."""
    for start in range(0, len(test.users), chunk_size):
        chunk = slice(start, start + chunk_size)
        all_items = scores(torch.from_numpy(test.users[chunk])).cpu()
        listed = torch.from_numpy(test.ranked[chunk]).clamp(min=0)
        yield from all_items.gather(1, listed).tolist()


def _user_metrics(dataset: Dataset, test: Evaluation) -> Iterator[tuple[str, ...]]:
    metrics = {name: values for name, values in test.per_user.items() if not name.startswith(LEFT_OUT)}
    yield "user", *metrics
    for position, user in enumerate(test.users):
        yield dataset.users.ids[user], *(f"{values[position]:.17g}" for values in metrics.values())
