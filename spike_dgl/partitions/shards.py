"""Checkpoints by shard: each process writes its own nodes, keyed by their rows in the data set.

So a run can resume on another number of hosts and trainers, if every host finds the shards with its nodes: its own
shards on the same parts, all shards on other parts. A checkpoint counts if every process finds all of its nodes in it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spike_dgl.errors import DataError
from spike_dgl.partitions.tables import Tables, chunks
from spike_dgl.training.checkpoint import load_checkpoint, save_checkpoint
from spike_dgl.training.distributed import Processes

CHECKPOINTS = "checkpoints"
ROWS_OF_FILE = 1 << 18
"""Number of nodes in a file."""


@dataclass(frozen=True)
class Shards:
    """Checkpoints of a run, ``checkpoints/epoch-N/shard-RANK-of-NUMBER-PART.pt``.

    A process writes and reads one part of its shard at a time, so that it never holds a copy of its tables.

    Parameters
    ----------
    folder
        Run folder on this host; hosts may share it.
    processes
        All trainers.
    """

    folder: Path
    processes: Processes

    def save(self, epoch: int, tables: Tables, state: Mapping[str, Any]) -> None:
        """Write this process's shard, with a `state` that is the same in all, and wait for the others'."""
        folder = self._of(epoch)
        folder.mkdir(parents=True, exist_ok=True)
        shard = f"shard-{self.processes.rank}-of-{self.processes.number}"
        for number, ids in enumerate(chunks(tables.own.nodes, ROWS_OF_FILE)):
            content: dict[str, Any] = {name: table[ids] for name, table in _stored(tables).items()}
            content = {"epoch": epoch, "rows": tables.original_rows(ids), "tables": content}
            save_checkpoint({**state, **content}, folder / f"{shard}-{number}.pt")
        self.processes.highest(0)  # a barrier: no older checkpoint is deleted before this one is complete

    def keep(self, epochs: set[int]) -> None:
        """Delete all other checkpoints."""
        for epoch in self._epochs() - epochs:
            shutil.rmtree(self._of(epoch), ignore_errors=True)  # another process of this host may be faster
        self.processes.highest(0)

    def newest(self, tables: Tables) -> int:
        """Return the newest epoch of which every process finds its nodes; 0 without any checkpoint.

        Raises `DataError` if there are checkpoints, but none is complete.
        """
        found = sorted(self._epochs(), reverse=True)
        rows, _ = _own_rows(tables)
        complete = {epoch for epoch in found if self._covers(epoch, rows)}
        everywhere = set.intersection(*self.processes.gather(complete))
        if everywhere:
            return max(everywhere)
        if any(self.processes.gather(found)):
            raise DataError(
                self.folder / CHECKPOINTS,
                "has no checkpoint with the nodes of every host",
                "On other partitions than those of the training, copy all shards of a checkpoint to all hosts.",
            )
        return 0

    def load(self, epoch: int, tables: Tables) -> dict[str, Any]:
        """Load this process's nodes into the tables, and return the state that is the same in all processes."""
        rows, ids = _own_rows(tables)
        state: dict[str, Any] = {}
        for file in self._files(epoch):
            state = load_checkpoint(file)
            place, own = _places(state["rows"], rows)
            for name, table in _stored(tables).items():
                if own.any():
                    table[ids[place[own]]] = state["tables"][name][own]
        self.processes.highest(0)
        return state

    def _covers(self, epoch: int, rows: Tensor) -> bool:
        found = torch.zeros(len(rows), dtype=torch.bool)
        for file in self._files(epoch):
            place, own = _places(load_checkpoint(file, mapped=True)["rows"], rows)
            found[place[own]] = True
        return bool(found.all())

    def _of(self, epoch: int) -> Path:
        return self.folder / CHECKPOINTS / f"epoch-{epoch}"

    def _files(self, epoch: int) -> list[Path]:
        return sorted(self._of(epoch).glob("shard-*.pt"))

    def _epochs(self) -> set[int]:
        folders = (self.folder / CHECKPOINTS).glob("epoch-*")
        numbers = (re.fullmatch(r"epoch-(\d+)", folder.name) for folder in folders)
        return {int(number[1]) for number in numbers if number}


def _stored(tables: Tables) -> dict[str, Any]:
    return {
        "embedding": tables.ids.weight,
        "means": tables.means,
        "powers": tables.powers,
        "steps": tables.steps,
    }


def _own_rows(tables: Tables) -> tuple[Tensor, Tensor]:
    """Return the rows in the data set of this process's nodes, ascending, and their ids."""
    nodes = tables.own.nodes
    rows, order = tables.original_rows(nodes).sort()
    return rows, order + nodes.start


def _places(rows: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """Return the position of each row in ascending rows, and whether it is there."""
    place = torch.searchsorted(among, rows).clamp(max=len(among) - 1)
    return place, among[place] == rows
