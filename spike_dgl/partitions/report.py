"""The run folder at the end: weights, embeddings, and the test, in the order of the data set's rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from spike_dgl.data.dataset import Dataset
from spike_dgl.errors import NotFiniteError
from spike_dgl.evaluation import Evaluation
from spike_dgl.evaluation.evaluate import relevant_pairs
from spike_dgl.models.base import CPU, Embeddings
from spike_dgl.partitions.inference import embeddings, scored
from spike_dgl.partitions.layout import USERS
from spike_dgl.partitions.ranking import Ranked, rank_own
from spike_dgl.partitions.tables import chunks
from spike_dgl.partitions.trainer import PartitionTrainer
from spike_dgl.profiles.stored import read_profile_texts
from spike_dgl.runs.embeddings import new_embeddings
from spike_dgl.runs.environment import peak_memory_mb
from spike_dgl.runs.experiment import write_test
from spike_dgl.runs.popularity_weight import FILE, WEIGHTS, choose_popularity_weight
from spike_dgl.runs.report import record_of_training
from spike_dgl.training.checkpoint import save_checkpoint
from spike_dgl.typing import FloatArray, IndexArray


def write_run(trainer: PartitionTrainer, *, test: bool) -> None:
    """Write the result of a trained run to the run folder of the first host. All processes must call it together.

    The first process holds the tables of all nodes while it writes them.
    """
    trainer.load(trainer.reported_epoch)
    trainer.infer()
    final = _final(trainer)
    of_all = []
    if test:
        ranked = rank_own(final, trainer.pairs, "test", trainer.config.evaluation)
        of_all = trainer.processes.gather((trainer.own.users.start, ranked))
    peaks = trainer.processes.gather(peak_memory_mb())
    if trainer.processes.is_first:
        _write_embeddings(trainer, final)
        _write(trainer, of_all, {"trainers_peak_memory_mb": peaks})
    trainer.processes.highest(0)  # the others keep their parts of the tables until they are written


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


def _write(trainer: PartitionTrainer, ranked: list[tuple[int, Ranked]], more: dict[str, Any]) -> None:
    folder, config = trainer.folder, trainer.config
    weights = _all_rows(trainer, trainer.tables.ids.weight)
    state = {name: parameter.detach() for name, parameter in trainer.model.parameters.items()}
    save_checkpoint(
        {"epoch": trainer.reported_epoch, "model": {"embedding": weights, **state}}, folder.file("best.pt")
    )
    dataset = folder.load_dataset()
    sources = read_profile_texts(folder.file("profiles.jsonl.gz")).sources
    record = record_of_training(folder, dataset, trainer.model.model, sources) | more
    record |= {
        "parameters": weights.numel() + sum(value.numel() for value in state.values()),
        "device": "cpu",
        "processes": trainer.processes.number,
        "parts": trainer.layout.num_parts,
        "peak_device_memory_mb": None,
    }
    if ranked:
        write_test(folder, config, dataset, record, sources, _evaluation(trainer, ranked, dataset), CPU)
    else:
        folder.write_json("validation.json", record)


def _all_rows(trainer: PartitionTrainer, table: Any) -> Tensor:
    """Return a table of all nodes in the order of the data set's rows, users first."""
    rows = torch.empty(trainer.layout.num_nodes, trainer.tables.dim)
    for ids in chunks(range(trainer.layout.num_nodes)):
        rows[trainer.tables.original_rows(ids)] = table[ids]
    return rows


def _write_embeddings(trainer: PartitionTrainer, final: Embeddings) -> None:
    """Write the final embeddings of all users, some at a time so that they are never in memory as a whole, and items.

    Parameters
    ----------
    trainer
        Trainer of the first process.
    final
        Embeddings of its own users, and of all items.
    """
    layout, tables = trainer.layout, trainer.tables
    of_term = final.users[:1, tables.dim :]  # the same for all users
    width = final.items.shape[1]
    shapes = {"users": (layout.num_users, width), "items": (layout.num_items, width)}
    with new_embeddings(trainer.folder, shapes, trainer.options.map_embeddings_above) as stored:
        stored["items"][_item_rows(trainer)] = _finite(final.items)
        for part in range(layout.num_parts):
            for ids in chunks(layout.part(part, USERS)):
                users = scored(trainer.model, tables.states[0][ids])
                users = torch.cat([users, of_term.expand(len(ids), -1)], dim=1)
                stored["users"][tables.original_rows(ids).numpy()] = _finite(users)


def _item_rows(trainer: PartitionTrainer) -> IndexArray:
    """Return the rows of items [I] in the data set, in the order of ids."""
    layout = trainer.layout
    rows: IndexArray = trainer.tables.original_rows(layout.all_item_ids).numpy() - layout.num_users
    return rows


def _finite(rows: Tensor) -> FloatArray:
    if not rows.isfinite().all():
        raise NotFiniteError("some embeddings are infinite or not a number\n  Lower training.learning_rate.")
    finite: FloatArray = rows.numpy()
    return finite


def _evaluation(trainer: PartitionTrainer, ranked: list[tuple[int, Ranked]], dataset: Dataset) -> Evaluation:
    """Join the lists of all processes, with users and items as rows of the data set."""
    _, relevant, known = relevant_pairs(dataset, "test")
    items = _item_rows(trainer)
    users = np.concatenate([_users(trainer, first, of_process) for first, of_process in ranked])
    order = users.argsort()
    lists = np.concatenate([of_process.lists for _, of_process in ranked])[order]
    per_user = {
        name: np.concatenate([of_process.per_user[name] for _, of_process in ranked])[order]
        for name in ranked[0][1].per_user
    }
    return Evaluation(
        split="test",
        cutoffs=trainer.config.evaluation.cutoffs,
        means={name: float(values.mean()) for name, values in per_user.items()},
        per_user=per_user,
        users=users[order],
        ranked=np.where(lists < 0, lists, items[lists]),
        relevant=relevant,
        users_without_items=dataset.num_users - len(users),
        pairs_seen_before=known,
    )


def _users(trainer: PartitionTrainer, first: int, ranked: Ranked) -> Any:
    return trainer.tables.original_rows(torch.from_numpy(ranked.users + first)).numpy()
