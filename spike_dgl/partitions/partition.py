"""Partitioning: cut the heterograph of a data set into parts, and write each with its share of the data."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from spike_dgl.config import to_mapping
from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.data.load import folder_of
from spike_dgl.data.options import load
from spike_dgl.data.popularity import recent_popularity
from spike_dgl.dgl_import import DGLGraph, dgl
from spike_dgl.errors import ConfigError, SpikeError
from spike_dgl.graph import build_graph, edge_types_by_id
from spike_dgl.models.base import ModelInputs
from spike_dgl.models.spike.model import with_text_neighbours
from spike_dgl.nn.graphs.relational import RelationalGraph
from spike_dgl.partitions.layout import (
    DGL_LAYOUT,
    EDGE_TYPE,
    FIRST_HOST,
    GRAPH,
    ITEMS,
    NODE_TYPE,
    USERS,
    Layout,
    PartInteractions,
    file_checksums,
)
from spike_dgl.runs.config import RunConfig
from spike_dgl.runs.environment import peak_memory_mb
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.set_up import write_inputs
from spike_dgl.runs.text_vectors import TextVectors
from spike_dgl.training.seeding import seed_everything
from spike_dgl.typing import IndexArray

Method = Literal["metis", "random"]
METIS_EDGES = 200_000_000
"""Number of edges above which nodes are assigned at random by default: METIS holds several copies of the graph."""


@dataclass(frozen=True)
class Cut:
    """Graph cut into parts.

    Parameters
    ----------
    edges
        All edges, on U + N rows, users first.
    assigned
        Part of each row.
    original_rows
        Row in 0..U+N-1, users first, of each id.
    node_starts, edge_starts
        See `Layout`.
    edges_cut
        Number of edges whose ends are in different parts.
    method
        How nodes were assigned.
    """

    edges: RelationalGraph
    assigned: Tensor
    original_rows: Tensor
    node_starts: Tensor
    edge_starts: Tensor
    edges_cut: int
    method: Method

    @cached_property
    def ids(self) -> Tensor:
        """Id of each row."""
        ids = torch.empty_like(self.original_rows)
        ids[self.original_rows] = torch.arange(len(ids))
        return ids

    def part(self, part: int) -> DGLGraph:
        """Return the graph of a part as DistDGL reads it: its own nodes, and all edges to them with their src nodes."""
        entering = (self.assigned[self.edges.dst] == part).nonzero()[:, 0]
        own = range(*self._bounds(part))
        src, dst = self.ids[self.edges.src[entering]], self.ids[self.edges.dst[entering]]
        is_halo = (src < own.start) | (src >= own.stop)
        halo, place = torch.unique(src[is_halo], return_inverse=True)
        src -= own.start
        src[is_halo] = len(own) + place  # after the part's own nodes
        graph = dgl.graph((src, dst - own.start), num_nodes=len(own) + len(halo))
        graph.ndata["inner_node"] = (torch.arange(graph.num_nodes()) < len(own)).to(torch.uint8)
        graph.ndata[dgl.NID] = torch.cat([torch.arange(own.start, own.stop), halo])
        graph.edata["inner_edge"] = torch.ones(len(src), dtype=torch.uint8)
        first = int(self.edge_starts[part, 0])  # edges are in the order of relations
        graph.edata[dgl.EID] = torch.arange(first, first + len(src))
        return graph

    def rows(self, part: int) -> Tensor:
        """Return the original rows of a part's nodes."""
        first, end = self._bounds(part)
        return self.original_rows[first:end]

    def _bounds(self, part: int) -> tuple[int, int]:
        firsts = [*self.node_starts[:, USERS].tolist(), len(self.assigned)]
        return firsts[part], firsts[part + 1]


@dataclass(frozen=True)
class Partitioned:
    """Result of `partition`.

    Parameters
    ----------
    layout, cut
        The layout and the cut.
    bytes
        Bytes of each part's files by name.
    loading_mb
        Peak memory of this process when the data set was loaded, in MB; None if the system does not report it.
    """

    layout: Layout
    cut: Cut
    bytes: tuple[dict[str, int], ...]
    loading_mb: float | None


def partition(
    config: RunConfig, folder: Path, num_parts: int, method: Method | None = None, *, progress: bool = False
) -> Partitioned:
    """Partition the data set of a run and write the parts to a new folder.

    Parameters
    ----------
    config
        Settings of the run. The sections ``data`` and ``profiles``, and ``model.similar_items``, are fixed by the
        parts; the others can change when training.
    folder
        A new folder. A host needs its files, and of the subfolders its own part.
    num_parts
        Number of hosts.
    method
        ``metis`` (few edges between parts, balanced by kind of node) or ``random``. Default: METIS up to
        `METIS_EDGES` edges.
    progress
        Whether to show a progress bar for slow encoders.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpikeError(f"{folder} already exists\n  Choose another folder, or delete it.")
    inputs = RunFolder.create(folder / FIRST_HOST)
    try:
        dataset = load(config.data)
        loading_mb = peak_memory_mb()
        if num_parts > min(dataset.num_users, dataset.num_items):
            raise ConfigError(f"--parts is {num_parts}, but each part needs a user and an item")
        config, vectors = write_inputs(config, inputs, dataset, progress=progress)
        seed_everything(config.data.split_seed)
        graph = _heterograph(dataset, vectors, config)
        edges = RelationalGraph.from_heterograph(graph)
        cut = cut_graph(edges, (dataset.num_users, dataset.num_items), num_parts, method)
        layout, sizes = _write(config, folder, dataset, vectors, edge_types_by_id(graph), cut)
        return Partitioned(layout, cut, sizes, loading_mb)
    finally:
        inputs.unlock()


def _heterograph(dataset: Dataset, vectors: TextVectors, config: RunConfig) -> DGLGraph:
    graph = build_graph(dataset)
    _, entities = vectors.tensors()
    inputs = ModelInputs(graph, entity_vectors=entities, item_terms=vectors.item_terms)
    return with_text_neighbours(inputs, getattr(config.model, "similar_items", 0))


def cut_graph(
    edges: RelationalGraph, users_and_items: tuple[int, int], num_parts: int, method: Method | None = None
) -> Cut:
    """Cut a graph into parts. Raises `SpikeError` if a part has no users or no items.

    Parameters
    ----------
    edges
        All edges, on U + N rows, users first.
    users_and_items
        U and I.
    num_parts, method
        See `partition`.
    """
    bounds = torch.tensor(users_and_items).cumsum(0)
    kinds = torch.searchsorted(bounds, torch.arange(edges.num_nodes), right=True)
    method = method or ("metis" if len(edges) <= METIS_EDGES else "random")
    assigned = _assign(edges, kinds, num_parts, method)
    of_nodes = torch.bincount(assigned * 3 + kinds, minlength=3 * num_parts).view(num_parts, 3)
    if not of_nodes[:, [USERS, ITEMS]].all():
        raise SpikeError(
            "a part has no users or no items\n  Choose fewer parts (--parts), or --method random."
        )
    part_of_edge = assigned[edges.dst]
    edges_cut = int((assigned[edges.src] != part_of_edge).sum())
    part_of_edge *= edges.num_relations
    part_of_edge += edges.relation
    of_edges = torch.bincount(part_of_edge, minlength=num_parts * edges.num_relations)
    return Cut(
        edges=edges,
        assigned=assigned,
        original_rows=assigned.argsort(stable=True),  # rows are in the order of kinds already
        node_starts=_starts(of_nodes),
        edge_starts=_starts(of_edges.view(num_parts, -1)),
        edges_cut=edges_cut,
        method=method,
    )


def _assign(edges: RelationalGraph, kinds: Tensor, num_parts: int, method: Method) -> Tensor:
    """Return the part of each node."""
    if num_parts == 1:
        return torch.zeros_like(kinds)
    if method == "random":
        return torch.randint(num_parts, kinds.shape)
    graph = dgl.graph((edges.src, edges.dst), num_nodes=edges.num_nodes)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():  # DGL prints its progress
        warnings.simplefilter("ignore", ResourceWarning)  # and leaves a file open
        assigned: Tensor = dgl.metis_partition_assignment(
            graph, num_parts, balance_ntypes=kinds, balance_edges=True
        )
    return assigned.long()


def _starts(counts: Tensor) -> Tensor:
    """Return the first id of each group, given their sizes [P, k] in the order of ids."""
    return (counts.flatten().cumsum(0) - counts.flatten()).view(counts.shape)


def _write(
    config: RunConfig,
    folder: Path,
    dataset: Dataset,
    vectors: TextVectors,
    edge_types: list[tuple[str, str, str]],
    cut: Cut,
) -> tuple[Layout, tuple[dict[str, int], ...]]:
    """Write the parts, and return their layout and the bytes of each part's files by name."""
    interactions = _interactions_by_part(dataset, cut)
    for part, of_part in enumerate(interactions):
        own = folder / f"part{part}"
        own.mkdir()
        dgl.save_graphs(str(own / "graph.dgl"), [cut.part(part)])
        rows = cut.rows(part)
        features = {f"{NODE_TYPE}/row": rows}
        if vectors.users is not None:
            features[f"{NODE_TYPE}/text"] = _texts(vectors, rows, dataset.num_users)
        dgl.data.utils.save_tensors(str(own / "node_feat.dgl"), features)
        dgl.data.utils.save_tensors(str(own / "edge_feat.dgl"), {})
        of_part.write(own / "interactions.npz")
    folders = [folder / f"part{part}" for part in range(len(interactions))]
    layout = Layout(
        name=dataset.name,
        node_starts=_nested(cut.node_starts),
        edge_starts=_nested(cut.edge_starts),
        num_nodes=len(cut.assigned),
        num_edges=len(cut.edges),
        num_train=tuple(len(of_part.train) for of_part in interactions),
        edge_types=tuple(edge_types),
        text_dim=0 if vectors.users is None else vectors.users.shape[1],
        similar_items=getattr(config.model, "similar_items", 0),
        data=to_mapping(config.data),
        profiles=to_mapping(config.profiles),
        checksums=tuple(map(file_checksums, folders)),
        data_checksums=file_checksums(folder_of(config.data.path)),
    )
    _write_dgl_layout(layout, folder)
    layout.write(folder)  # last: with it the folder is complete
    sizes = tuple({file.name: file.stat().st_size for file in of_part.iterdir()} for of_part in folders)
    return layout, sizes


def _texts(vectors: TextVectors, rows: Tensor, num_users: int) -> Tensor:
    """Return the text vectors of nodes, users first."""
    users, entities = rows[rows < num_users], rows[rows >= num_users] - num_users
    assert vectors.users is not None
    assert vectors.entities is not None
    parts = [vectors.users[users.numpy()], vectors.entities[entities.numpy()]]
    return torch.from_numpy(np.concatenate(parts, dtype=np.float32))


def _interactions_by_part(dataset: Dataset, cut: Cut) -> list[PartInteractions]:
    ids: IndexArray = cut.ids.numpy()
    user_ids, item_ids = ids[: dataset.num_users], ids[dataset.num_users :][: dataset.num_items]
    item_numbers = np.empty(len(item_ids), np.int64)
    item_numbers[item_ids.argsort()] = np.arange(len(item_ids))
    starts = cut.node_starts[:, USERS].numpy()
    part_of_user = np.searchsorted(starts, user_ids, side="right") - 1
    numbers_in_part = user_ids - starts[part_of_user]

    def of_part(pairs: Interactions, part: int) -> Interactions:
        chosen = part_of_user[pairs.users] == part
        users, items = pairs.users[chosen], pairs.items[chosen]
        return Interactions.from_pairs(numbers_in_part[users], item_numbers[items])

    popularity = recent_popularity(dataset.train, dataset.num_items)[item_ids.argsort()]
    return [
        PartInteractions(
            popularity, *(of_part(pairs, part) for pairs in (dataset.train, dataset.valid, dataset.test))
        )
        for part in range(len(starts))
    ]


def _nested(starts: Tensor) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in starts.tolist())


def _write_dgl_layout(layout: Layout, folder: Path) -> None:
    """Write the file that DistDGL reads: a homogeneous graph with consecutive ids in each part."""
    first_nodes = [*(part[0] for part in layout.node_starts), layout.num_nodes]
    first_edges = [*(part[0] for part in layout.edge_starts), layout.num_edges]
    content = {
        "graph_name": GRAPH,
        "num_nodes": layout.num_nodes,
        "num_edges": layout.num_edges,
        "part_method": "metis",
        "num_parts": layout.num_parts,
        "halo_hops": 1,
        "node_map": {NODE_TYPE: list(pairwise(first_nodes))},
        "edge_map": {EDGE_TYPE: list(pairwise(first_edges))},
        "ntypes": {NODE_TYPE: 0},
        "etypes": {EDGE_TYPE: 0},
    }
    for part in range(layout.num_parts):
        names = {"node_feats": "node_feat.dgl", "edge_feats": "edge_feat.dgl", "part_graph": "graph.dgl"}
        content[f"part-{part}"] = {key: f"part{part}/{name}" for key, name in names.items()}
    (folder / DGL_LAYOUT).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
