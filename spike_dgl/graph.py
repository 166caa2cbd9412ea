"""A dataset as a DGL heterograph, the input of all models."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from spike_dgl.data.dataset import Dataset
from spike_dgl.dgl_import import DGLGraph, dgl
from spike_dgl.errors import DataError

INTERACTS = "interacts"
SIMILAR = "similar text"

EdgeType: TypeAlias = tuple[str, str, str]
"""DGL's canonical edge type: src node type, relation, dst node type."""


def inverse(relation: str) -> str:
    """Return the name of the inverse of `relation`."""
    return f"{relation}_inverse"


def build_graph(dataset: Dataset) -> DGLGraph:
    """Build the heterograph of a dataset's knowledge graph and training interactions.

    Node types are ``user`` [U] and ``entity`` [N], items first. Each relation is an edge type from head to tail, with
    an inverse edge type from tail to head. ``interacts`` is the edge type from users to the items of their training
    interactions, with an inverse as well. Validation and test interactions are not in the graph.

    Each edge type has a relation id, stored in ``edata["relation"]``:

    - r for the inverse of relation r, along which tails send messages to heads, as in SPiKE;
    - R + r for relation r;
    - 2R for ``interacts`` and 2R + 1 for its inverse.

    ``nodes["entity"].data["is_item"]`` marks the items. If interactions have times,
    ``edges["interacts"].data["place"]`` is the number of earlier interactions of the same user.

    Parameters
    ----------
    dataset
        The dataset; its relation names become edge type names.

    Returns
    -------
    DGLGraph
        On the CPU. Store it with `save_graph` and `load_graph`.
    """
    R = dataset.num_relations
    triples = dataset.triples
    edges: dict[EdgeType, tuple[Tensor, Tensor]] = {}
    ids: dict[EdgeType, int] = {}
    for row, name in enumerate(_edge_type_names(dataset)):
        chosen = triples.relations == row
        heads, tails = torch.from_numpy(triples.heads[chosen]), torch.from_numpy(triples.tails[chosen])
        edges["entity", name, "entity"] = (heads, tails)
        edges["entity", inverse(name), "entity"] = (tails, heads)
        ids["entity", name, "entity"] = R + row
        ids["entity", inverse(name), "entity"] = row
    users, items = torch.from_numpy(dataset.train.users), torch.from_numpy(dataset.train.items)
    edges["user", INTERACTS, "entity"] = (users, items)
    edges["entity", inverse(INTERACTS), "user"] = (items, users)
    ids["user", INTERACTS, "entity"] = 2 * R
    ids["entity", inverse(INTERACTS), "user"] = 2 * R + 1
    graph = dgl.heterograph(edges, {"user": dataset.num_users, "entity": dataset.num_entities})
    for edge_type, number in ids.items():
        graph.edges[edge_type].data["relation"] = torch.full((graph.num_edges(edge_type),), number)
    graph.nodes["entity"].data["is_item"] = torch.arange(dataset.num_entities) < dataset.num_items
    places = dataset.train.places(dataset.num_users)
    if places is not None:
        graph.edges[INTERACTS].data["place"] = torch.from_numpy(places)
    return graph


def with_similar_items(graph: DGLGraph, items: Tensor, neighbours: Tensor) -> DGLGraph:
    """Return the graph with one more relation, ``similar text``, from text neighbours to items.

    Its relation id is 2R + 2. It has no inverse, because being a nearest neighbour is not symmetric.

    Parameters
    ----------
    graph
        The heterograph of `build_graph`; it is not changed.
    items, neighbours
        Rows [E] of items, dst and src; see `spike_dgl.nn.graphs.text_neighbours`.
    """
    edges = {edge_type: graph.edges(etype=edge_type, order="eid") for edge_type in graph.canonical_etypes}
    similar = ("entity", SIMILAR, "entity")
    sizes = {node_type: graph.num_nodes(node_type) for node_type in graph.ntypes}
    extended = dgl.heterograph(edges | {similar: (neighbours, items)}, sizes)
    for edge_type in graph.canonical_etypes:
        extended.edges[edge_type].data.update(graph.edges[edge_type].data)
    extended.edges[similar].data["relation"] = torch.full((len(items),), len(graph.canonical_etypes))
    extended.nodes["entity"].data["is_item"] = graph.nodes["entity"].data["is_item"]
    return extended


def edge_types_by_id(graph: DGLGraph) -> list[EdgeType]:
    """Return all edge types of the heterograph in the order of their relation ids.

    An edge type without edges stores no id; it is given one of the ids left over.
    """
    types: list[EdgeType] = graph.canonical_etypes
    ids = {each: int(graph.edges[each].data["relation"][0]) for each in types if graph.num_edges(each)}
    left = iter(sorted(set(range(len(types))) - set(ids.values())))
    return sorted(types, key={each: ids[each] if each in ids else next(left) for each in types}.__getitem__)


def entity_edge_types(graph: DGLGraph) -> list[EdgeType]:
    """Return the edge types to entities, in the order of their ids.

    First the 2R of the knowledge graph, then ``interacts``, then ``similar text`` if the graph has it.
    """
    return [edge_type for edge_type in edge_types_by_id(graph) if edge_type[2] == "entity"]


def num_knowledge_relations(graph: DGLGraph) -> int:
    """Return 2R, the number of relations of the knowledge graph and their inverses."""
    return entity_edge_types(graph).index(("user", INTERACTS, "entity"))


def _edge_type_names(dataset: Dataset) -> list[str]:
    """Return the relation names, with an underscore appended to names that clash with another edge type's."""
    taken = {INTERACTS, inverse(INTERACTS), SIMILAR}
    names: list[str] = []
    for wanted in dataset.relations.names:
        name = wanted
        while name in taken or inverse(name) in taken:
            name += "_"
        taken |= {name, inverse(name)}
        names.append(name)
    return names


def save_graph(graph: DGLGraph, file: Path) -> None:
    """Store a heterograph with `dgl.save_graphs`."""
    dgl.save_graphs(str(file), [graph])


def load_graph(file: Path) -> DGLGraph:
    """Load a graph stored by `save_graph`. Raises `DataError` if the file is missing or not a DGL graph."""
    remedy = "Build the graph again with spike_dgl.graph.build_graph and save_graph."
    if not file.is_file():
        raise DataError(file, "no such graph file", remedy)
    try:
        graphs, _ = dgl.load_graphs(str(file))
    except dgl.DGLError as error:
        raise DataError(file, f"is not a graph saved by DGL ({str(error).splitlines()[0]})", remedy) from None
    return graphs[0]
