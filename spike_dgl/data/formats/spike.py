"""Format of the SPiKE authors' and KGAT's data: row numbers in text files.

Needed

- ``train.txt``, ``test.txt``: each line is ``user item item ...``. Users without items, and users with several lines,
  are allowed.
- ``kg_final.txt``, or ``kg_final.txt.zip`` if that is missing: each line is ``head relation tail``.

Optional

- ``valid.txt``, in the format of ``train.txt``.
- ``entity_names.txt``: line i has the name of entity i, items first.
- ``user_list.txt``, ``item_list.txt``, ``entity_list.txt``, ``relation_list.txt``: the header ``org_id remap_id``, then
  a raw id (which may contain spaces) and a row number per line; further columns are ignored.
- ``user_profiles.json``, ``item_profiles.json``, ``entity_profiles.json``: row number -> text; also with ``.gz``.
- ``user_texts.json``, ``item_texts.json``: row number -> description, from which profiles are written.
- ``reviews.jsonl``: each line is a review ``{"user": row, "item": row, "text": "..."}``, also used for profiles.
- ``train_times.txt``, ``valid_times.txt``, ``test_times.txt``: the lines of ``train.txt`` etc. with the time of each
  interaction, in seconds since 1970, in place of the item.
- ``linked_names.json``: row number of an item -> name of the entity that it is linked to.
- ``user_embeddings.npz``, ``item_embeddings.npz``, ``entity_embeddings.npz``, all or none: arrays `ids` and
  `embeddings` with one row per node, optionally `encoder` and `text_hashes`.

In ``entity_profiles.json`` and ``entity_embeddings.npz``, row 0 is the first auxiliary entity, i.e. the first one AFTER
the items; in all other files, entity rows include the items, which come first. If a list or ``entity_names.txt``
determines the number of rows, a larger id is an error; otherwise the largest id determines it. Without a list, the row
numbers are used as raw ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spike_dgl.data.dataset import NodeTexts, NodeVectors, Vocabulary
from spike_dgl.data.files import (
    IntegerLines,
    parse_integers,
    read_integers,
    read_lines,
    read_text_map,
    read_zip_member,
)
from spike_dgl.data.formats.id_lists import last_row, read_id_list
from spike_dgl.data.formats.vectors import VectorFile, in_row_order, joined_hashes, read_vector_files
from spike_dgl.data.names import readable_relations
from spike_dgl.data.raw import MISSING_TEXTS, IdSource, RawDataset, RawRows
from spike_dgl.data.reviews import REVIEWS
from spike_dgl.data.values import meant_values
from spike_dgl.errors import DataError
from spike_dgl.typing import IndexArray

NAME = "spike"
NEEDS = "train.txt, test.txt and kg_final.txt or kg_final.txt.zip (the layout of SPiKE and KGAT)"

NODE_KINDS = ("user", "item", "entity")
DESCRIPTIONS = {"user": "user_texts.json", "item": "item_texts.json"}
LINKED_NAMES = "linked_names.json"


def recognises(folder: Path) -> bool:
    """Return whether a folder has one of the files that are specific to this format."""
    return any((folder / name).exists() for name in ("train.txt", "kg_final.txt", "kg_final.txt.zip"))


def read(folder: Path) -> RawDataset:
    """Read a folder of this format; see the module's docstring."""
    files = _read_files(folder)
    users, items = _vocabulary(files, "user"), _vocabulary(files, "item")
    entities = _vocabulary(files, "entity", num_items=len(items))
    return RawDataset(
        users=users,
        items=Vocabulary("item", items.ids, _named(items.ids, files.names)),
        entities=entities,
        relations=_vocabulary(files, "relation"),
        pairs=files.pairs,
        times=files.times,
        triples=files.triples,
        mentions=files.mentions(len(items)),
        listed_in=files.listed_in,
        profiles=_profiles(files, len(items)),
        descriptions=NodeTexts(users=files.descriptions["user"], entities=files.descriptions["item"]),
        linked_names=files.linked_names,
        dropped={MISSING_TEXTS: files.missing_names} if files.missing_names else {},
        review_file=file if (file := folder / REVIEWS).exists() else None,
        vectors=_vectors(files, len(users), len(items), len(entities)),
    )


@dataclass(frozen=True)
class _Files:
    """Contents of a folder, before the number of nodes is known."""

    folder: Path
    pairs: dict[str, RawRows]
    times: dict[str, IndexArray]
    named_users: tuple[IdSource, ...]  # first ids of all lines, including lines without items
    triples: RawRows
    texts: dict[str, dict[int, str]]
    descriptions: dict[str, dict[int, str]]
    linked_names: dict[int, str]
    vectors: dict[str, VectorFile]
    lists: dict[str, tuple[str, ...]]
    names: tuple[str, ...]  # of entities, empty where one is a missing value
    missing_names: int

    @property
    def listed_in(self) -> dict[str, str]:
        """Name of the file that determines the number of rows of a kind, by kind."""
        sources = {"entity": "entity_names.txt"} if self.names else {}
        return sources | {kind: f"{kind}_list.txt" for kind in self.lists}

    def mentions(self, num_items: int) -> tuple[IdSource, ...]:
        """Return the ids in files other than pairs, triples and vectors."""
        profiles = tuple(
            _ids_of(_profile_file(self.folder, kind), kind, texts, num_items if kind == "entity" else 0)
            for kind, texts in self.texts.items()
        )
        described = (
            _ids_of(self.folder / DESCRIPTIONS[kind], kind, texts)
            for kind, texts in self.descriptions.items()
        )
        linked = _ids_of(self.folder / LINKED_NAMES, "item", self.linked_names)
        return (*self.named_users, *profiles, *described, linked)

    def sources(self, kind: str, num_items: int) -> list[IdSource]:
        """Return all ids of a kind, by file and column."""
        found = [source for source in self.mentions(num_items) if source.kind == kind]
        if kind in self.vectors:
            vectors = self.vectors[kind]
            offset = num_items if kind == "entity" else 0
            found.append(IdSource(vectors.file, kind, vectors.ids, offset=offset))
        columns = self.triples.columns("entity", "relation", "entity")
        for rows in self.pairs.values():
            columns += rows.columns("user", "item")
        return found + [source for source in columns if source.kind == kind]


def _ids_of(file: Path, kind: str, texts: Mapping[int, str], offset: int = 0) -> IdSource:
    return IdSource(file, kind, np.fromiter(texts, dtype=np.int64, count=len(texts)), offset=offset)


def _named(ids: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the name of each id; the raw id where the name is missing."""
    return tuple(name or raw for raw, name in zip(ids, names or ids, strict=False))


def _read_files(folder: Path) -> _Files:
    parts = ["train", "test"] + (["valid"] if (folder / "valid.txt").exists() else [])
    lines = {part: read_integers(folder / f"{part}.txt") for part in parts}
    lists = {
        kind: read_id_list(file)
        for kind in (*NODE_KINDS, "relation")
        if (file := folder / f"{kind}_list.txt").exists()
    }
    names, missing_names = _read_names(folder, lists.get("entity"))
    return _Files(
        folder=folder,
        pairs={part: _pairs(folder / f"{part}.txt", numbers) for part, numbers in lines.items()},
        times={
            part: _times(file, numbers)
            for part, numbers in lines.items()
            if (file := folder / f"{part}_times.txt").exists()
        },
        named_users=tuple(_named_users(folder / f"{part}.txt", numbers) for part, numbers in lines.items()),
        triples=_read_triples(folder),
        texts={kind: _texts_if_any(_profile_file(folder, kind)) for kind in NODE_KINDS},
        descriptions={kind: _texts_if_any(folder / name) for kind, name in DESCRIPTIONS.items()},
        linked_names=_texts_if_any(folder / LINKED_NAMES),
        vectors=read_vector_files(folder, NODE_KINDS),
        lists=lists,
        names=names,
        missing_names=missing_names,
    )


def _profile_file(folder: Path, kind: str) -> Path:
    """Return the file of a kind's profiles, which may be compressed."""
    plain = folder / f"{kind}_profiles.json"
    compressed = plain.with_name(f"{plain.name}.gz")
    if not compressed.exists():
        return plain
    if plain.exists():
        raise DataError(compressed, f"and {plain.name} are both in the folder", "Keep one of the two.")
    return compressed


def _texts_if_any(file: Path) -> dict[int, str]:
    return read_text_map(file) if file.exists() else {}


def _pairs(file: Path, numbers: IntegerLines) -> RawRows:
    """Pair the first number of each line with each of the others."""
    first = numbers.firsts()
    users = numbers.values[first][np.cumsum(first) - 1]
    pairs = np.stack([users, numbers.values], axis=1)
    return RawRows(file, pairs[~first], numbers.lines[~first])


def _times(file: Path, pairs: IntegerLines) -> IndexArray:
    """Return the time of each pair."""
    numbers, first = read_integers(file, signed=True), pairs.firsts()
    same_shape = np.array_equal(numbers.firsts(), first)
    if not same_shape or not np.array_equal(numbers.values[first], pairs.values[first]):
        part = file.name.replace("_times", "")
        problem = f"does not have the same users and the same number of values per line as {part}"
        raise DataError(file, problem, "Write both files again, or delete this one.")
    return numbers.values[~first]


def _named_users(file: Path, numbers: IntegerLines) -> IdSource:
    first = numbers.firsts()
    return IdSource(file, "user", numbers.values[first], numbers.lines[first])


def _read_triples(folder: Path) -> RawRows:
    plain, zipped = folder / "kg_final.txt", folder / "kg_final.txt.zip"
    if plain.exists():
        return _triples(plain, read_integers(plain))
    if zipped.exists():
        return _triples(zipped, parse_integers(zipped, read_zip_member(zipped, "kg_final.txt")))
    problem = "no such file, and no kg_final.txt.zip either"
    raise DataError(plain, problem, "Add the knowledge graph, with a line `head relation tail` per triple.")


def _triples(file: Path, numbers: IntegerLines) -> RawRows:
    lines, counts = np.unique(numbers.lines, return_counts=True)
    wrong = counts != 3
    if wrong.any():
        position = int(wrong.argmax())
        problem = f"expected 3 numbers (head relation tail), found {counts[position]}"
        raise DataError(file, problem, "Complete or remove the line.", int(lines[position]))
    return RawRows(file, numbers.values.reshape(-1, 3), lines)


def _read_names(folder: Path, listed: Sequence[str] | None) -> tuple[tuple[str, ...], int]:
    """Return the names of all entities (empty if there is no file) and the number of missing values among them."""
    file = folder / "entity_names.txt"
    if not file.exists():
        return (), 0
    names = tuple(name.strip() for name in read_lines(file))
    if "" in names:
        line = names.index("") + 1
        raise DataError(file, "expected a name, found an empty line", "Give the entity a name.", line)
    if listed is not None and len(listed) != len(names):
        problem = f"has {len(names)} lines, but entity_list.txt lists {len(listed)} entities"
        raise DataError(file, problem, "Line i is the name of entity i: write one line per entity.")
    meant, missing = meant_values(names)
    return tuple(meant), missing


def _vocabulary(files: _Files, kind: str, num_items: int = 0) -> Vocabulary:
    """Return the raw ids and names of a kind; `num_items` is needed for entities only."""
    sources = files.sources(kind, num_items)
    names = files.names if kind == "entity" else ()
    ids = files.lists.get(kind)
    if ids is None:
        size = len(names) or max(num_items, 1 + last_row(sources))
        ids = tuple(map(str, range(size)))
    if kind == "entity" and len(ids) < num_items:
        file = files.folder / files.listed_in["entity"]
        problem = f"has {len(ids)} entities, fewer than the {num_items} items, which are the first entities"
        raise DataError(file, problem, "Add the missing entities, or correct the largest item id.")
    return Vocabulary(kind, ids, readable_relations(ids) if kind == "relation" else _named(ids, names))


def _profiles(files: _Files, num_items: int) -> NodeTexts:
    auxiliary = {row + num_items: text for row, text in files.texts.get("entity", {}).items()}
    return NodeTexts(users=files.texts.get("user", {}), entities=files.texts.get("item", {}) | auxiliary)


def _vectors(files: _Files, num_users: int, num_items: int, num_entities: int) -> NodeVectors | None:
    if not files.vectors:
        return None
    sizes = {"user": num_users, "item": num_items, "entity": num_entities - num_items}
    users, *entities = (in_row_order(files.vectors[kind], sizes[kind]) for kind in NODE_KINDS)
    return NodeVectors(
        users.embeddings,
        np.concatenate([part.embeddings for part in entities]),
        encoder=users.encoder,
        user_hashes=users.text_hashes,
        entity_hashes=joined_hashes(entities),
    )
