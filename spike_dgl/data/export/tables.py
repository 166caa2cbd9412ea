"""Writing of tab-separated tables of raw ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from spike_dgl.data.dataset import Dataset, Interactions, Vocabulary
from spike_dgl.errors import DataError

PARTS = ("train", "valid", "test")


def parts_of(dataset: Dataset) -> dict[str, Interactions]:
    """Return the non-empty splits, by name."""
    parts = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}
    return {part: pairs for part, pairs in parts.items() if len(pairs)}


def raw_pairs(dataset: Dataset, pairs: Interactions) -> Iterator[tuple[str, str]]:
    """Yield raw ids (user, item) of interactions, in their order."""
    users, items = dataset.users.ids, dataset.items.ids
    for user, item in zip(pairs.users, pairs.items, strict=True):
        yield users[user], items[item]


def write_table(file: Path, rows: Iterable[Sequence[str]]) -> Path:
    """Write rows of cells, separated by tabs; return the file's path."""
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines("\t".join(row) + "\n" for row in rows)
    return file


def check_ids(*vocabularies: Vocabulary) -> None:
    """Raise `DataError` if a raw id has a tab or a line break, which would end its cell."""
    for vocabulary in vocabularies:
        for raw in vocabulary.ids:
            if any(separator in raw for separator in "\t\n\r"):
                raise DataError(
                    vocabulary.kind + " ids",
                    f"{raw!r} has a tab or a line break, which these files cannot represent",
                    "Change the raw id.",
                )


def as_cell(text: str) -> str:
    """Return a text in one line, without tabs."""
    return " ".join(text.split())
