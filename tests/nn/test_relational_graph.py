"""The graph of users and entities, by hand and against the heterograph."""

from __future__ import annotations

import torch

from spike_dgl.graph import build_graph
from spike_dgl.models.base import CPU
from spike_dgl.nn.graphs.relational import RelationalGraph
from tests.toy import dataset, random_dataset


def test_edges_by_hand() -> None:
    # Users 0 and 1; items 2 and 3, entity 4. Relation rows: r0, its inverse, item from user, user from item.
    data = dataset([(0, 1), (1, 0)], [(0, 0, 2)], sizes=(2, 2, 3, 1))
    graph = RelationalGraph.from_heterograph(build_graph(data), CPU)
    edges = zip(graph.dst.tolist(), graph.relation.tolist(), graph.src.tolist(), strict=True)
    assert list(edges) == [(2, 0, 4), (4, 1, 2), (3, 2, 0), (2, 2, 1), (0, 3, 3), (1, 3, 2)]
    assert (graph.num_users, graph.num_nodes, graph.num_relations, len(graph)) == (2, 5, 4, 6)


def test_every_triple_has_its_inverse() -> None:
    graph = RelationalGraph.from_heterograph(build_graph(random_dataset(3)), CPU)
    R = graph.num_relations // 2 - 1
    inverse = {
        **{r: R + r for r in range(R)},
        **{R + r: r for r in range(R)},
        2 * R: 2 * R + 1,
        2 * R + 1: 2 * R,
    }
    edges = set(zip(graph.dst.tolist(), graph.relation.tolist(), graph.src.tolist(), strict=True))
    assert edges == {(tail, inverse[relation], head) for head, relation, tail in edges}


def test_pairs_are_distinct_and_lead_back_to_the_edges() -> None:
    graph = RelationalGraph.from_heterograph(build_graph(random_dataset(3)), CPU)
    for pairs, node in ((graph.src_pairs, graph.src), (graph.dst_pairs, graph.dst)):
        assert torch.equal(pairs.node[pairs.of_edge], node)
        assert torch.equal(pairs.relation[pairs.of_edge], graph.relation)
        assert torch.equal(pairs.relation, pairs.relation.sort().values)
        assert (
            len(set(zip(pairs.node.tolist(), pairs.relation.tolist(), strict=True)))
            == len(pairs)
            < len(graph)
        )


def test_dgl_graphs_have_the_edges_in_order() -> None:
    graph = RelationalGraph.from_heterograph(build_graph(random_dataset(3)), CPU)
    for form, src, dst in (
        (graph.edges, graph.src, graph.dst),
        (graph.from_pairs, graph.src_pairs.of_edge, graph.dst),
        (graph.between_pairs, graph.src_pairs.of_edge, graph.dst_pairs.of_edge),
    ):
        assert all(map(torch.equal, form.dgl_graph.edges(order="eid"), (src, dst)))


def test_a_part_of_the_edges_keeps_all_nodes() -> None:
    graph = RelationalGraph.from_heterograph(build_graph(random_dataset(3)), CPU)
    part = graph.keep(graph.relation == 1)
    assert part.src_pairs.relation.unique().tolist() == [1]
    assert part.edges.num_dst == graph.num_nodes
