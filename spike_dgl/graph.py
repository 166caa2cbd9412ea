"""A data set as a DGL heterograph: the form that notebooks see and files store."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from spike_dgl.data.dataset import Dataset
from spike_dgl.dgl_import import DGLGraph, dgl
from spike_dgl.errors import DataError

INTERACTS = "interacts"
SIMILAR = "similar text"


def inverse(relation: str) -> str:
    """Name of the edge type that runs against `relation`."""
    return f"{relation}_inverse"


def build_graph(dataset: Dataset) -> DGLGraph:
    """The heterograph of a data set's knowledge graph and training interactions.

    Node types are ``user`` [U] and ``entity`` [N], items first. Each relation is an edge type of its own from head
    to tail, with an inverse from tail to head; ``interacts`` runs from users to the items of their training
    part, with an inverse as well. Validation and test interactions are not in the graph.

    Every edge type stores in ``edata["relation"]`` the row of its relation embedding: r for a relation, R + r
    for its inverse, 2R for ``interacts_inverse`` and 2R + 1 for ``interacts``. ``nodes["entity"].data["is_item"]``
    marks the items. Where the data says when interactions happened, ``edges["interacts"].data["place"]`` counts those
    of the same user that came before each.

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
    edges: dict[tuple[str, str, str], tuple[Tensor, Tensor]] = {}
    rows: dict[tuple[str, str, str], int] = {}
    for row, name in enumerate(_edge_type_names(dataset)):
        chosen = triples.relations == row
        heads, tails = torch.from_numpy(triples.heads[chosen]), torch.from_numpy(triples.tails[chosen])
        edges["entity", name, "entity"] = (heads, tails)
        edges["entity", inverse(name), "entity"] = (tails, heads)
        rows["entity", name, "entity"] = row
        rows["entity", inverse(name), "entity"] = R + row
    users, items = torch.from_numpy(dataset.train.users), torch.from_numpy(dataset.train.items)
    edges["user", INTERACTS, "entity"] = (users, items)
    edges["entity", inverse(INTERACTS), "user"] = (items, users)
    rows["entity", inverse(INTERACTS), "user"] = 2 * R
    rows["user", INTERACTS, "entity"] = 2 * R + 1
    graph = dgl.heterograph(edges, {"user": dataset.num_users, "entity": dataset.num_entities})
    for edge_type, row in rows.items():
        graph.edges[edge_type].data["relation"] = torch.full((graph.num_edges(edge_type),), row)
    graph.nodes["entity"].data["is_item"] = torch.arange(dataset.num_entities) < dataset.num_items
    places = dataset.train.places(dataset.num_users)
    if places is not None:
        graph.edges[INTERACTS].data["place"] = torch.from_numpy(places)
    return graph


def with_similar_items(graph: DGLGraph, items: Tensor, neighbours: Tensor) -> DGLGraph:
    """The graph of `build_graph` with one more relation, ``similar text``: from items to others that read alike.

    It has no inverse: of two items one may be among the most similar of the other, but not the other way round. Its
    relation row is 2R + 1; that of ``interacts`` has the same number, but multiplies nothing where this one is used.

    Parameters
    ----------
    graph
        The heterograph; it is not changed.
    items, neighbours
        [E] rows of items; see `spike_dgl.nn.text_neighbours`.
    """
    edges = {edge_type: graph.edges(etype=edge_type, order="eid") for edge_type in graph.canonical_etypes}
    similar = ("entity", SIMILAR, "entity")
    sizes = {node_type: graph.num_nodes(node_type) for node_type in graph.ntypes}
    extended = dgl.heterograph(edges | {similar: (items, neighbours)}, sizes)
    for edge_type in graph.canonical_etypes:
        extended.edges[edge_type].data.update(graph.edges[edge_type].data)
    extended.edges[similar].data["relation"] = torch.full((len(items),), num_relation_rows(graph))
    extended.nodes["entity"].data["is_item"] = graph.nodes["entity"].data["is_item"]
    return extended


def num_relation_rows(graph: DGLGraph) -> int:
    """2R + 1: every relation, every inverse, and the one by which items receive from users; one more with texts."""
    return 1 + len([edge_type for edge_type in graph.canonical_etypes if edge_type[0] == edge_type[2]])


def _edge_type_names(dataset: Dataset) -> list[str]:
    """Relation names, made different from each other's inverses and from the interactions' where they clash."""
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
