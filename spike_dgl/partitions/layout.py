"""Layout of a partitioned data set: which ids of nodes and edges are in which part, and what they are.

DistDGL numbers the nodes and edges of each part consecutively. Inside a part, nodes are ordered by kind (users, items,
other entities) and edges by relation. So the kind of a node and the relation of an edge follow from the id and a few
boundaries, and no host needs a table of all nodes or edges.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spike_dgl.atomic_files import atomic_write
from spike_dgl.data.dataset import Interactions
from spike_dgl.data.files import sha256_of_file
from spike_dgl.data.load import folder_of
from spike_dgl.errors import DataError
from spike_dgl.typing import FloatArray, IndexArray

GRAPH = "spike"
"""Name of the graph for DistDGL."""
LAYOUT, DGL_LAYOUT = "layout.json", "partition.json"
"""Files that every host needs, besides its part: ours and DistDGL's."""
FIRST_HOST = "first-host"
"""Folder of the files that only the first host needs, to write the run folder."""
NODE_TYPE, EDGE_TYPE = "_N", "_N:_E:_N"
"""DGL's names for the only types of a homogeneous graph."""
USERS, ITEMS, OTHERS = 0, 1, 2
"""Kinds of nodes, in the order of their ids inside a part."""
FORMAT = 1
AGAIN = "Copy the folder of the partitions to this host again, or partition the data again."
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Layout:
    """Sizes and boundaries of the parts.

    Parameters
    ----------
    name
        Name of the data set.
    node_starts
        Per part, the first id of its users, items and other entities.
    edge_starts
        Per part, the first edge id of each relation.
    num_nodes, num_edges
        Numbers of nodes and edges in all parts.
    num_train
        Number of training interactions per part.
    edge_types
        Canonical edge types of the heterograph, by relation id.
    text_dim
        d_t; 0 without text vectors.
    similar_items
        Number of text neighbours per item that the graph was cut with.
    data, profiles
        Settings of these sections.
    checksums
        Per part, the SHA-256 of its files by name.
    data_checksums
        SHA-256 of the data set's files by name.
    """

    name: str
    node_starts: tuple[tuple[int, ...], ...]
    edge_starts: tuple[tuple[int, ...], ...]
    num_nodes: int
    num_edges: int
    num_train: tuple[int, ...]
    edge_types: tuple[tuple[str, str, str], ...]
    text_dim: int
    similar_items: int
    data: dict[str, Any]
    profiles: dict[str, Any]
    checksums: tuple[dict[str, str], ...]
    data_checksums: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def num_parts(self) -> int:
        """Number of parts, one per host."""
        return len(self.node_starts)

    @cached_property
    def node_bounds(self) -> Tensor:
        """First ids of users, items and others of each part, and the number of nodes: [3 P + 1]."""
        return torch.tensor([*(start for part in self.node_starts for start in part), self.num_nodes])

    @cached_property
    def edge_bounds(self) -> Tensor:
        """First edge ids of each part and relation: [P R']."""
        return torch.tensor([start for part in self.edge_starts for start in part])

    @cached_property
    def sizes(self) -> Tensor:
        """Numbers of users, items and others of each part, [P, 3]."""
        return self.node_bounds.diff().view(-1, 3)

    @property
    def num_users(self) -> int:
        """U."""
        return int(self.sizes[:, USERS].sum())

    @property
    def num_items(self) -> int:
        """I."""
        return int(self.sizes[:, ITEMS].sum())

    def part(self, part: int, kind: int | None = None) -> range:
        """Return the ids of a part's nodes, or of its nodes of one kind."""
        bounds = self.node_bounds.tolist()[3 * part : 3 * part + 4]
        return range(bounds[0], bounds[3]) if kind is None else range(bounds[kind], bounds[kind + 1])

    def kinds(self, ids: Tensor) -> Tensor:
        """Return the kind of each node."""
        return (torch.searchsorted(self.node_bounds, ids, right=True) - 1) % 3

    def relations(self, edges: Tensor) -> Tensor:
        """Return the relation id of each edge id."""
        return (torch.searchsorted(self.edge_bounds, edges, right=True) - 1) % len(self.edge_types)

    def rows(self, ids: Tensor) -> Tensor:
        """Return rows of nodes such that users come first: id for users, n + id for entities.

        `ids` is the inverse. Models and samplers take nodes in this order.
        """
        return ids + self.num_nodes * (self.kinds(ids) != USERS)

    def ids(self, rows: Tensor) -> Tensor:
        """Return the ids of `rows`."""
        return rows % self.num_nodes

    def item_ids(self, items: Tensor) -> Tensor:
        """Return the ids of items, given by their numbers 0..I-1 in the order of ids."""
        after = self.sizes[:, ITEMS].cumsum(0)
        part = torch.searchsorted(after, items, right=True)
        return items - (after - self.sizes[:, ITEMS])[part] + self.node_bounds[3 * part + ITEMS]

    @cached_property
    def all_item_ids(self) -> Tensor:
        """Ids [I] of all items, ascending."""
        return self.item_ids(torch.arange(self.num_items))

    @cached_property
    def fingerprint(self) -> str:
        """Checksum of the layout, which differs between any two partitions."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self)).encode()).hexdigest()[:16]

    def write(self, folder: Path) -> None:
        """Write ``layout.json``."""
        with atomic_write(folder / LAYOUT) as partial:
            partial.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Layout:
        """Read ``layout.json``. Raises `DataError` if it is missing or damaged."""
        file = folder / LAYOUT
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            return cls(**{key: _tuples(value) for key, value in content.items()})
        except (OSError, ValueError, TypeError) as error:
            raise DataError(
                file,
                f"cannot be read ({error})",
                "Give a folder that `python main.py partition` wrote.",
            ) from None

    def check_part(self, folder: Path, part: int) -> None:
        """Raise `DataError` if a part's files are missing, damaged, or of another partition."""
        for name, checksum in self.checksums[part].items():
            file = folder / f"part{part}" / name
            if not file.is_file():
                raise DataError(file, f"is missing, and this is host {part}, which needs part {part}", AGAIN)
            if sha256_of_file(file) != checksum:
                raise DataError(file, "is damaged, or belongs to another partition", AGAIN)

    @property
    def has_unchanged_data(self) -> bool:
        """True if the data set is on this host with the files that were partitioned; reads files, but loads no data."""
        folder = folder_of(self.data["path"])
        return bool(self.data_checksums) and folder.is_dir() and file_checksums(folder) == self.data_checksums


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value


def file_checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 (hex) of a folder's files by name, without those of subfolders."""
    return {file.name: sha256_of_file(file) for file in sorted(folder.iterdir()) if file.is_file()}


@dataclass(frozen=True)
class PartInteractions:
    """Interactions of a part's users: users count from 0 in the part, items are numbered 0..I-1 in the order of ids.

    `popularity` is the recent popularity [I] of items among the users of all parts.
    """

    popularity: FloatArray
    train: Interactions
    valid: Interactions
    test: Interactions

    def write(self, file: Path) -> None:
        """Write an npz file."""
        arrays: dict[str, IndexArray | FloatArray] = {"popularity": self.popularity}
        for split in SPLITS:
            pairs: Interactions = getattr(self, split)
            arrays |= {f"{split}_users": pairs.users, f"{split}_items": pairs.items}
        np.savez(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def read(cls, file: Path, users: range) -> PartInteractions:
        """Read the interactions of some of the part's users, who then count from 0.

        Raises `DataError` if an earlier version wrote the file.
        """
        with np.load(file) as stored:
            if "popularity" not in stored:
                raise DataError(file, "was written by an earlier version", AGAIN)
            pairs = [Interactions(stored[f"{split}_users"], stored[f"{split}_items"]) for split in SPLITS]
            popularity = stored["popularity"]
        return cls(popularity, *(_of_users(split, users) for split in pairs))


def _of_users(pairs: Interactions, users: range) -> Interactions:
    first, end = np.searchsorted(pairs.users, [users.start, users.stop])
    return Interactions(pairs.users[first:end] - users.start, pairs.items[first:end])
