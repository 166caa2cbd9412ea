"""Writes a folder that this package, KGAT's and SPiKE's code read: all of it, or nothing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spike_dgl.data.dataset import Interactions
from spike_dgl.data.prepare.knowledge import KnowledgeGraph
from spike_dgl.errors import DataError

CARD = "dataset.json"
"""The file that says how a data set was made; it marks a folder as one that `new_folder` may replace."""


@dataclass(frozen=True)
class PreparedDataset:
    """What becomes a folder.

    Parameters
    ----------
    user_ids, item_ids
        Raw ids in row order, without spaces.
    train, valid, test
        The split interactions.
    graph
        The knowledge graph; its first I entities are the items.
    item_texts
        Descriptions by item row.
    """

    user_ids: Sequence[str]
    item_ids: Sequence[str]
    train: Interactions
    valid: Interactions
    test: Interactions
    graph: KnowledgeGraph
    item_texts: Mapping[int, str] = field(default_factory=dict)

    def statistics(self) -> dict[str, int | float]:
        """The table that papers print, and how many items have no triple."""
        interactions = len(self.train) + len(self.valid) + len(self.test)
        num_users, num_items = len(self.user_ids), len(self.item_ids)
        return {
            "users": num_users,
            "items": num_items,
            "interactions": interactions,
            "density": round(interactions / (num_users * num_items), 6),
            "train": len(self.train),
            "valid": len(self.valid),
            "test": len(self.test),
            "items without training interactions": num_items - len(np.unique(self.train.items)),
            "relations": len(self.graph.relation_ids),
            **self.graph.counts(),
            "items without triples": num_items - self._items_with_triples(),
        }

    def _items_with_triples(self) -> int:
        ends = np.concatenate([self.graph.triples.heads, self.graph.triples.tails])
        return len(np.unique(ends[ends < len(self.item_ids)]))


def check_destination(destination: Path, overwrite: bool) -> None:
    """Refuse, before any work is done, a destination that must not be written.

    Raises
    ------
    DataError
        If the destination is a file, or a folder that is not empty; with `overwrite`, if that folder is not
        an earlier prepared data set, which alone is replaced.
    """
    if not destination.exists() or (destination.is_dir() and not any(destination.iterdir())):
        return
    if not (destination / CARD).is_file():
        raise DataError(destination, "exists and is not a prepared data set", "Name a new folder.")
    if not overwrite:
        raise DataError(
            destination, "already holds a data set", "Name a new folder, or ask to overwrite this one."
        )


@contextmanager
def new_folder(destination: Path, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write into that takes the destination's place at the end; after an error nothing is left.

    Raises
    ------
    DataError
        As `check_destination` does, and if something cannot be written (disk full, no permission).
    """
    check_destination(destination, overwrite)
    destination = destination.resolve()
    partial = destination.with_name(f".{destination.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        yield partial
        _put_in_place(partial, destination)
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        raise DataError(destination, problem, "Make room or name a folder that you may write to.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_dataset(dataset: PreparedDataset, folder: Path) -> None:
    """Write the text files of a data set (see `spike_dgl.data.formats` for the layout) into a folder."""
    graph, num_users = dataset.graph, len(dataset.user_ids)
    for split in ("train", "valid", "test"):
        pairs = getattr(dataset, split)
        if (
            len(pairs) or split != "valid"
        ):  # without the file, loading takes a validation part out of training
            write_lines(folder / f"{split}.txt", _interaction_lines(pairs, num_users))
    triples = graph.triples
    facts = np.stack([triples.heads, triples.relations, triples.tails], axis=1).tolist()
    write_lines(folder / "kg_final.txt", (f"{head} {relation} {tail}" for head, relation, tail in facts))
    write_lines(folder / "entity_names.txt", graph.entity_names)
    _write_ids(folder / "user_list.txt", dataset.user_ids)
    _write_ids(folder / "item_list.txt", dataset.item_ids)
    _write_ids(folder / "entity_list.txt", graph.entity_ids)
    _write_ids(folder / "relation_list.txt", graph.relation_ids)
    if dataset.item_texts:
        texts = {str(row): text for row, text in dataset.item_texts.items()}
        write_lines(folder / "item_texts.json", [json.dumps(texts, indent=0, ensure_ascii=False)])


def write_card(folder: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``dataset.json``: what is given, and the SHA-256 of every file in the folder. Returns it."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    outputs = {file.relative_to(folder).as_posix(): checksum(file) for file in files}
    card = {**card, "outputs": outputs}
    write_lines(folder / CARD, [json.dumps(card, indent=1, ensure_ascii=False)])
    return card


def checksum(file: Path) -> str:
    """SHA-256 (hex) of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_lines(file: Path, lines: Iterable[str]) -> None:
    """Write lines as UTF-8, each ended by a single newline character on every system."""
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(f"{line}\n" for line in lines)


def _put_in_place(partial: Path, destination: Path) -> None:
    """Rename; what was there before goes only after the new folder stands."""
    if not destination.exists():
        partial.rename(destination)
        return
    old = destination.with_name(f".{destination.name}.old-{os.getpid()}")
    destination.rename(old)
    try:
        partial.rename(destination)
    except OSError:
        old.rename(destination)
        raise
    shutil.rmtree(old)


def _interaction_lines(pairs: Interactions, num_users: int) -> Iterator[str]:
    """A line "user item item ..." for each user who has any."""
    offsets, items = pairs.offsets(num_users).tolist(), pairs.items.tolist()
    for user in np.unique(pairs.users).tolist():
        yield " ".join(map(str, [user, *items[offsets[user] : offsets[user + 1]]]))


def _write_ids(file: Path, ids: Sequence[str]) -> None:
    write_lines(file, ["org_id remap_id", *(f"{raw} {row}" for row, raw in enumerate(ids))])
