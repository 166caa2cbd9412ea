"""A data set as a DGL heterograph: the form that models are given, notebooks see, and files store."""

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
"""Source node type, relation and destination node type: DGL's canonical edge type."""


def inverse(relation: str) -> str:
    """Name of the edge type that runs against `relation`."""
    return f"{relation}_inverse"


def build_graph(dataset: Dataset) -> DGLGraph:
    """Build the heterograph of a data set's knowledge graph and training interactions.

    Node types are ``user`` [U] and ``entity`` [N], items first. Each relation is an edge type of its own from head
    to tail, with an inverse from tail to head; ``interacts`` runs from users to the items of their training
    part, with an inverse as well. Messages run along the edges, from source to destination. Validation and test
    interactions are not in the graph.

    Every edge type has a relation id of its own, which ``edata["relation"]`` stores: r for the inverse of relation r,
    by which heads receive from their tails, as SPiKE numbers relations; R + r for the relation itself; 2R for
    ``interacts`` and 2R + 1 for its inverse. ``nodes["entity"].data["is_item"]`` marks the items. Where the data says
    when interactions happened, ``edges["interacts"].data["place"]`` counts the user's earlier ones.

    Parameters
    ----------
    dataset
        The data set; its relation names become edge type names.

    Returns
    -------
    DGLGraph
        On the CPU. `save_graph` and `load_graph` store and restore it.
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
    """Return the graph of `build_graph` with one more relation, ``similar text``: to items from their text neighbours.

    It has no inverse: of two items one may be among the most similar of the other, but not the other way round. Its
    relation id is 2R + 2.

    Parameters
    ----------
    graph
        The heterograph; it is not changed.
    items, neighbours
        [E] rows of items; see `spike_dgl.nn.graphs.text_neighbours`.
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

    An edge type without edges stores no id, and takes one that is left.
    """
    types: list[EdgeType] = graph.canonical_etypes
    ids = {each: int(graph.edges[each].data["relation"][0]) for each in types if graph.num_edges(each)}
    left = iter(sorted(set(range(len(types))) - set(ids.values())))
    return sorted(types, key={each: ids[each] if each in ids else next(left) for each in types}.__getitem__)


def entity_edge_types(graph: DGLGraph) -> list[EdgeType]:
    """Return the edge types to entities, in the order of their ids.

    First come the 2R of the knowledge graph, then ``interacts``, then ``similar text`` where there is one.
    """
    return [edge_type for edge_type in edge_types_by_id(graph) if edge_type[2] == "entity"]


def num_knowledge_relations(graph: DGLGraph) -> int:
    """2R: relations of the knowledge graph and their inverses."""
    return entity_edge_types(graph).index(("user", INTERACTS, "entity"))


def _edge_type_names(dataset: Dataset) -> list[str]:
    """Return relation names, made different from each other's inverses and from the interactions' where they clash."""
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
    """Read what `save_graph` wrote. Raises `DataError` where the file is missing or is no DGL graph."""
    remedy = "Build the graph again with spike_dgl.graph.build_graph and save_graph."
    if not file.is_file():
        raise DataError(file, "no such graph file", remedy)
    try:
        graphs, _ = dgl.load_graphs(str(file))
    except dgl.DGLError as error:
        raise DataError(file, f"is not a graph saved by DGL ({str(error).splitlines()[0]})", remedy) from None
    return graphs[0]
