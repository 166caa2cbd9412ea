"""Texts that a run was trained with, in one compressed file: one line of JSON per node, users before entities."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from spike_dgl.data.dataset import Dataset
from spike_dgl.errors import DataError
from spike_dgl.profiles.records import Profiles, ProfileSources, Sources

LEVEL = 3
"""Compression level."""


@dataclass(frozen=True)
class ProfileTexts:
    """Paragraphs of all `users` [U] and `entities` [N], items first, and their `sources`."""

    users: tuple[str, ...]
    entities: tuple[str, ...]
    sources: ProfileSources


def write_profile_texts(file: Path, dataset: Dataset, profiles: Profiles) -> None:
    """Write the texts and sources of all nodes, with their raw ids, as gzipped JSON lines."""
    records = chain(
        _records("user", dataset.users.ids, profiles.user_texts, profiles.user_sources),
        _records("entity", dataset.entities.ids, profiles.entity_texts, profiles.entity_sources),
    )
    # No time and no file name in the header, so that equal texts give equal bytes. Level 9 takes six times as long.
    with (
        file.open("wb") as stream,
        gzip.GzipFile("", "wb", LEVEL, fileobj=stream, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as lines,
    ):
        lines.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def read_profile_texts(file: Path) -> ProfileTexts:
    """Read a file of `write_profile_texts`. Raises `DataError` if it is missing or damaged."""
    texts: dict[str, list[str]] = {"user": [], "entity": []}
    sources: dict[str, list[str]] = {"user": [], "entity": []}
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for record in map(json.loads, lines):
                texts[record["node"]].append(record["text"])
                sources[record["node"]].append(sys.intern(record["source"]))
    except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            file, f"cannot be read ({error})", "Train again; the file belongs to the run."
        ) from None
    of_users, of_entities = (np.array(of_side, dtype=np.str_) for of_side in sources.values())
    return ProfileTexts(tuple(texts["user"]), tuple(texts["entity"]), ProfileSources(of_users, of_entities))


def _records(
    side: str, ids: Sequence[str], texts: Sequence[str], sources: Sources
) -> Iterator[dict[str, str]]:
    for raw, text, source in zip(ids, texts, sources, strict=True):
        yield {"node": side, "id": raw, "source": str(source), "text": text}
