"""Writes a folder that this package, KGAT's and SPiKE's code read: all of it, or nothing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import spike_dgl.data.formats.spike as spike
from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.data.prepare.streams import open_raw
from spike_dgl.errors import DataError
from spike_dgl.typing import IndexArray

CARD = "dataset.json"
"""The file that says how a data set was made; it marks a folder as one that `new_folder` may replace."""


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


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Write a data set, without ready-made profiles and vectors, as files of `spike_dgl.data.formats.spike`."""
    for part in ("train", "valid", "test"):
        pairs = getattr(dataset, part)
        if len(pairs) or part != "valid":  # without the file, loading takes a validation part out of training
            write_lines(folder / f"{part}.txt", _lines_by_user(pairs.users, pairs.items))
    triples = dataset.triples
    facts = np.stack([triples.heads, triples.relations, triples.tails], axis=1).tolist()
    write_lines(folder / "kg_final.txt", (f"{head} {relation} {tail}" for head, relation, tail in facts))
    write_lines(folder / "entity_names.txt", dataset.entities.names)
    for vocabulary in (dataset.users, dataset.items, dataset.entities, dataset.relations):
        _write_ids(folder / f"{vocabulary.kind}_list.txt", vocabulary.ids)
    _write_texts(folder / spike.DESCRIPTIONS["user"], dataset.descriptions.users)
    _write_texts(folder / spike.DESCRIPTIONS["item"], dataset.descriptions.entities)
    _write_texts(folder / spike.LINKED_NAMES, dataset.linked_names)


def write_times(part: str, pairs: Interactions, seconds: IndexArray, folder: Path) -> None:
    """Write when the pairs of a part happened [X], in their order."""
    write_lines(folder / f"{part}_times.txt", _lines_by_user(pairs.users, seconds))


def write_card(folder: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``dataset.json``: what is given, and the SHA-256 of every file in the folder. Returns it."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    outputs = {file.relative_to(folder).as_posix(): checksum(file) for file in files}
    card = {**card, "outputs": outputs}
    write_lines(folder / CARD, [json.dumps(card, indent=1, ensure_ascii=False)])
    return card


def checksum(file: Path) -> str:
    """SHA-256 (hex) of a file, or of a member of an archive."""
    digest = hashlib.sha256()
    with open_raw(file) as stream:
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


def _lines_by_user(users: IndexArray, values: IndexArray) -> Iterator[str]:
    """A line "user value value ..." for each of some users, which ascend."""
    different, starts = np.unique(users, return_index=True)
    for user, mine in zip(different.tolist(), np.split(values, starts[1:]), strict=True):
        yield " ".join(map(str, [user, *mine.tolist()]))


def _write_texts(file: Path, texts: Mapping[int, str]) -> None:
    if texts:
        by_row = {str(row): text for row, text in texts.items()}
        write_lines(file, [json.dumps(by_row, indent=0, ensure_ascii=False)])


def _write_ids(file: Path, ids: Sequence[str]) -> None:
    write_lines(file, ["org_id remap_id", *(f"{raw} {row}" for row, raw in enumerate(ids))])
