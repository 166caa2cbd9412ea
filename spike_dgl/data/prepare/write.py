"""Atomic writing of a data set folder that this package and the code of KGAT and SPiKE can read."""

from __future__ import annotations

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
from spike_dgl.data.files import sha256_of
from spike_dgl.data.prepare.streams import open_raw
from spike_dgl.errors import DataError
from spike_dgl.typing import IndexArray

CARD = "dataset.json"
"""Name of the file that records how a data set was made. `new_folder` may replace a folder that has it."""


def check_destination(destination: Path, overwrite: bool) -> None:
    """Check that the destination may be written, before any work is done.

    Raises
    ------
    DataError
        If the destination is a file or a non-empty folder. With `overwrite`, a folder with a prepared data set is
        allowed.
    """
    if not destination.exists() or (destination.is_dir() and not any(destination.iterdir())):
        return
    if not (destination / CARD).is_file():
        raise DataError(destination, "exists and is not a prepared data set", "Give a new folder.")
    if not overwrite:
        raise DataError(
            destination, "already has a data set", "Give a new folder, or replace this one with --overwrite."
        )


@contextmanager
def new_folder(destination: Path, overwrite: bool = False) -> Iterator[Path]:
    """Create a temporary folder to write to, and rename it to `destination` at the end; delete it after an error.

    Raises
    ------
    DataError
        If `check_destination` raises it, or something cannot be written (disk full, no permission).
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
        raise DataError(
            destination, problem, "Free disk space, or give a folder that you may write to."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Write a data set, without its profiles and vectors, in the format of `spike_dgl.data.formats.spike`."""
    for part in ("train", "valid", "test"):
        pairs = getattr(dataset, part)
        if len(pairs) or part != "valid":  # without the file, loading takes a validation split from training
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
    """Write the times of a split's pairs, `seconds` [X] since 1970, in the order of the pairs."""
    write_lines(folder / f"{part}_times.txt", _lines_by_user(pairs.users, seconds))


def write_card(folder: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``dataset.json`` with the contents of `card` and the SHA-256 of every file in the folder; return it."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    outputs = {file.relative_to(folder).as_posix(): checksum(file) for file in files}
    card = {**card, "outputs": outputs}
    write_lines(folder / CARD, [json.dumps(card, indent=1, ensure_ascii=False)])
    return card


def checksum(file: Path) -> str:
    """Return the SHA-256 (hex) of a file, or of a member of an archive."""
    with open_raw(file) as stream:
        return sha256_of(stream)


def write_lines(file: Path, lines: Iterable[str]) -> None:
    """Write lines as UTF-8, ended by a newline character on every system."""
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(f"{line}\n" for line in lines)


def _put_in_place(partial: Path, destination: Path) -> None:
    """Rename the new folder to the destination; delete the old one only after that."""
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
    """Yield a line "user value value ..." per user; `users` must ascend."""
    different, starts = np.unique(users, return_index=True)
    for user, mine in zip(different.tolist(), np.split(values, starts[1:]), strict=True):
        yield " ".join(map(str, [user, *mine.tolist()]))


def _write_texts(file: Path, texts: Mapping[int, str]) -> None:
    if texts:
        by_row = {str(row): text for row, text in texts.items()}
        write_lines(file, [json.dumps(by_row, indent=0, ensure_ascii=False)])


def _write_ids(file: Path, ids: Sequence[str]) -> None:
    write_lines(file, ["org_id remap_id", *(f"{raw} {row}" for row, raw in enumerate(ids))])
