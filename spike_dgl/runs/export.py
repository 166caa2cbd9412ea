"""Export of runs for checking with other libraries: split, lists and metrics in their formats."""

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
"""Number of items in the list of each test user."""
LEFT_OUT = "kgat_ndcg"
"""Metric that is not exported, because other libraries do not have it."""

LISTS = f"""`relevant.tsv` and `*.lists.tsv` are TREC qrels and runs, separated by tabs. A list has at most
{LIST_LENGTH} items. Items of a user's training and validation interactions are in no list, and are not relevant.
Ties in scores are broken by the order of the items in the data, also in `*.users.tsv`."""


def export_runs(runs: Mapping[str, Path], folder: Path, format: ExportFormat) -> None:
    """Write the split of some runs, and the lists and metrics of each on the test split.

    ====================== =====================================================================
    ``DATA/``              the split, in the other library's format
    ``relevant.tsv``       user, 0, item, 1: relevant items (TREC qrels)
    ``NAME.lists.tsv``     user, Q0, item, rank, score, NAME: the top 100 items (TREC run)
    ``NAME.users.tsv``     metrics of each test user
    ``README.md``          description of the files
    ====================== =====================================================================

    Parameters
    ----------
    runs
        Run folders by the names of their files.
    folder
        Folder to create; must be new or empty.
    format
        ``recbole`` or ``cornac``.

    Raises
    ------
    SpikeError
        If the folder is not empty, or a run is not finished.
    ConfigError
        If the runs have different splits.
    """
    if folder.exists() and any(folder.iterdir()):
        raise SpikeError(f"{folder} is not empty\n  Choose another folder, or empty it.")
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
            raise ConfigError(f"{run} has another split than the other runs\n  Export it separately.")
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
                # Nine digits distinguish all float32 numbers.
                yield raw_user, "Q0", dataset.items.ids[item], str(rank), f"{value:.9g}", name


@torch.no_grad()
def _list_scores(test: Evaluation, scores: ScoreFunction, chunk_size: int = 256) -> Iterator[list[float]]:
    """Yield the scores of each user's listed items."""
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
