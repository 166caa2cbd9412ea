"""End of a run: weights, embeddings and test in the order of the data set's rows.

The trainers, which hold their tables, load no data set. They leave their lists to the process that started them, which
loads it when they have ended. So the first host never holds both.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spike_dgl.errors import NotFiniteError
from spike_dgl.evaluation import Evaluation
from spike_dgl.evaluation.evaluate import relevant_pairs
from spike_dgl.models.base import CPU, Embeddings
from spike_dgl.partitions.inference import embeddings, scored
from spike_dgl.partitions.ranking import Ranked, rank_own
from spike_dgl.partitions.tables import in_parts
from spike_dgl.partitions.trainer import PartitionTrainer
from spike_dgl.profiles.stored import read_profile_texts
from spike_dgl.runs.config import RunConfig
from spike_dgl.runs.embeddings import Rows, store_embeddings
from spike_dgl.runs.environment import peak_memory_mb
from spike_dgl.runs.experiment import write_test
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.popularity_weight import FILE, WEIGHTS, choose_popularity_weight
from spike_dgl.runs.report import record_of_training
from spike_dgl.training.checkpoint import save_checkpoint
from spike_dgl.typing import FloatArray, IndexArray

RECORD, LISTS = "trained.json", "lists.npz"
"""Files that the first trainer leaves."""
METRIC = "metric:"


@dataclass(frozen=True)
class Lists:
    """Test lists of all users: `users` [n] and `ranked` [n, K] as rows of the data set, and `per_user` metrics [n]."""

    users: IndexArray
    ranked: IndexArray
    per_user: dict[str, NDArray[np.float64]]

    def write(self, folder: Path) -> None:
        """Write them to a folder."""
        metrics = {METRIC + name: values for name, values in self.per_user.items()}
        np.savez(folder / LISTS, users=self.users, ranked=self.ranked, **metrics)  # type: ignore[arg-type]

    @classmethod
    def read(cls, folder: Path) -> Lists:
        """Read them from a folder."""
        with np.load(folder / LISTS) as stored:
            names = [name for name in stored.files if name.startswith(METRIC)]
            per_user = {name.removeprefix(METRIC): stored[name] for name in names}
            return cls(stored["users"], stored["ranked"], per_user)


def write_trained(trainer: PartitionTrainer, left: Path, *, test: bool) -> None:
    """Write weights and embeddings to the run folder of the first host. All processes must call it together.

    Parameters
    ----------
    trainer
        Trainer of this process.
    left
        Folder for what `write_result` needs.
    test
        Whether to test.
    """
    trainer.load(trainer.reported_epoch)
    trainer.infer()
    final = _final(trainer)
    of_all: list[tuple[int, Ranked]] = []
    if test:
        ranked = rank_own(final, trainer.pairs, "test", trainer.config.evaluation)
        of_all = trainer.processes.gather_to_first((trainer.own.users.start, ranked))
    if trainer.processes.is_first:
        rows = trainer.tables.original_rows(range(trainer.layout.num_nodes))
        items = rows[trainer.layout.all_item_ids] - trainer.layout.num_users
        if of_all:
            _joined(of_all, rows, items).write(left)
        ids = rows.argsort()
        _write_embeddings(trainer, final, ids, items)
        _write_weights(trainer, ids)
    peaks = trainer.processes.gather(peak_memory_mb())  # the others keep their parts of the tables until here
    if trainer.processes.is_first:
        state = trainer.model.parameters.values()
        record = {
            "parameters": trainer.layout.num_nodes * trainer.tables.dim + sum(each.numel() for each in state),
            "processes": trainer.processes.number,
            "threads": torch.get_num_threads(),
            "peak_memory_mb": peaks[0],
            "trainers_peak_memory_mb": peaks,
        }
        (left / RECORD).write_text(json.dumps(record), encoding="utf-8")


def write_result(folder: RunFolder, config: RunConfig, parts: int, left: Path) -> None:
    """Write the result to the run folder, from the data set and from what `write_trained` left."""
    dataset = folder.load_dataset()
    sources = read_profile_texts(folder.file("profiles.jsonl.gz")).sources
    trained = json.loads((left / RECORD).read_text(encoding="utf-8"))
    fixed = {"device": "cpu", "parts": parts, "peak_device_memory_mb": None}
    record = {**record_of_training(folder, dataset, sources), **trained, **fixed}
    if not (left / LISTS).is_file():
        folder.write_json("validation.json", record)
        return
    lists = Lists.read(left)
    _, relevant, known = relevant_pairs(dataset, "test")
    test = Evaluation(
        split="test",
        cutoffs=config.evaluation.cutoffs,
        means={name: float(values.mean()) for name, values in lists.per_user.items()},
        per_user=lists.per_user,
        users=lists.users,
        ranked=lists.ranked,
        relevant=relevant,
        users_without_items=dataset.num_users - len(lists.users),
        pairs_seen_before=known,
    )
    write_test(folder, config, dataset, record, sources, test, CPU)


def _final(trainer: PartitionTrainer) -> Embeddings:
    """Return the final embeddings of this process's users, and of all items, with the popularity term."""
    own, weight = embeddings(trainer.model, trainer.tables), trainer.config.model.popularity_weight
    return trainer.with_popularity(own, _chosen_weight(trainer, own) if weight == "auto" else weight)


def _chosen_weight(trainer: PartitionTrainer, own: Embeddings) -> float:
    """Choose the weight of the popularity term on the validation users of all processes, the same in all."""
    metric, values = trainer.options.metric, {}
    for weight in WEIGHTS if trainer.validates else ():
        final = trainer.with_popularity(own, weight)
        ranked = rank_own(final, trainer.pairs, "valid", trainer.config.validation)
        values[weight] = ranked.per_user[metric]
    of_all = trainer.processes.gather(values)
    joined = {weight: np.concatenate([each[weight] for each in of_all]) for weight in values}
    choice = choose_popularity_weight(joined, metric)
    if trainer.processes.is_first:
        trainer.folder.write_json(FILE, choice.record())
    return choice.weight


def _joined(of_all: list[tuple[int, Ranked]], rows: Tensor, items: Tensor) -> Lists:
    """Join the lists of all processes.

    Parameters
    ----------
    of_all
        Id of each process's first user, and its lists.
    rows
        Row of each id in the data set.
    items
        Row of each item in the order of ids.
    """
    users = rows.numpy()[np.concatenate([ranked.users + first for first, ranked in of_all])]
    order = users.argsort()
    lists = np.concatenate([ranked.lists for _, ranked in of_all])[order]
    per_user = {
        name: np.concatenate([ranked.per_user[name] for _, ranked in of_all])[order]
        for name in of_all[0][1].per_user
    }
    return Lists(users[order], np.where(lists < 0, lists, items.numpy()[lists]), per_user)


def _write_embeddings(trainer: PartitionTrainer, final: Embeddings, ids: Tensor, items: Tensor) -> None:
    """Write the final embeddings of all users and items, some rows at a time.

    Parameters
    ----------
    trainer
        Trainer of the first process.
    final
        Embeddings of its own users, and of all items.
    ids
        Id of each row of the data set.
    items
        Row of each item in the order of ids.
    """
    layout, tables = trainer.layout, trainer.tables
    of_term = final.users[:1, tables.dim :]  # the same for all users
    width = final.items.shape[1]
    of_users = (
        torch.cat([scored(trainer.model, states), of_term.expand(len(states), -1)], dim=1)
        for states in in_parts(tables.states[0], ids[: layout.num_users])
    )
    of_items = in_parts(final.items, items.argsort())
    store_embeddings(
        trainer.folder,
        Rows((layout.num_users, width), map(_finite, of_users)),
        Rows((layout.num_items, width), map(_finite, of_items)),
        trainer.options.map_embeddings_above,
    )


def _write_weights(trainer: PartitionTrainer, ids: Tensor) -> None:
    """Write ``best.pt``; the table of all ID embeddings is in a temporary file, and never in memory as a whole."""
    state = {name: parameter.detach() for name, parameter in trainer.model.parameters.items()}
    shape = (trainer.layout.num_nodes, trainer.tables.dim)
    with tempfile.NamedTemporaryFile(dir=trainer.folder.path) as file:
        for rows in in_parts(trainer.tables.ids.weight, ids):
            file.write(rows.numpy().data)
        file.flush()
        table = torch.from_file(file.name, shared=False, size=shape[0] * shape[1]).view(shape)
        save_checkpoint(
            {"epoch": trainer.reported_epoch, "model": {"embedding": table, **state}},
            trainer.folder.file("best.pt"),
        )


def _finite(rows: Tensor) -> FloatArray:
    if not rows.isfinite().all():
        raise NotFiniteError("some embeddings are infinite or not a number\n  Lower training.learning_rate.")
    finite: FloatArray = rows.numpy()
    return finite
