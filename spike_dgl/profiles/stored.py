"""Texts that a run was trained with, in one compressed file: one line of JSON per node, users before entities."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
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
    records = [
        *_records("user", dataset.users.ids, profiles.user_texts, profiles.user_sources),
        *_records("entity", dataset.entities.ids, profiles.entity_texts, profiles.entity_sources),
    ]
    # No time and no file name in the header, so that equal texts give equal bytes. Level 9 takes six times as long.
    with file.open("wb") as stream, gzip.GzipFile("", "wb", LEVEL, fileobj=stream, mtime=0) as packed:
        packed.write("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode())


def read_profile_texts(file: Path) -> ProfileTexts:
    """Read a file of `write_profile_texts`. Raises `DataError` if it is missing or damaged."""
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            records = [json.loads(line) for line in lines]
        sides = {
            side: [record for record in records if record["node"] == side] for side in ("user", "entity")
        }
        texts = {side: tuple(record["text"] for record in found) for side, found in sides.items()}
        sources = {
            side: np.array([record["source"] for record in found], dtype=np.str_)
            for side, found in sides.items()
        }
    except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            file, f"cannot be read ({error})", "Train again; the file belongs to the run."
        ) from None
    return ProfileTexts(texts["user"], texts["entity"], ProfileSources(sources["user"], sources["entity"]))


def _records(side: str, ids: Sequence[str], texts: Sequence[str], sources: Sources) -> list[dict[str, str]]:
    return [
        {"node": side, "id": raw, "source": str(source), "text": text}
        for raw, text, source in zip(ids, texts, sources.tolist(), strict=True)
    ]
