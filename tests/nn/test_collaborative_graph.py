"""The one graph of users and entities, by hand and against the heterograph."""

from __future__ import annotations

import pytest
import torch

from spike_dgl.dgl_import import DglDeviceError
from spike_dgl.graph import build_graph
from spike_dgl.models.base import CPU
from spike_dgl.nn.collaborative_graph import CollaborativeGraph
from tests.toy import dataset, random_dataset


def test_edges_by_hand() -> None:
    # Users 0 and 1; items 2 and 3, entity 4. Relation rows: r0, its inverse, item from user, user from item.
    data = dataset([(0, 1), (1, 0)], [(0, 0, 2)], sizes=(2, 2, 3, 1))
    graph = CollaborativeGraph.of(build_graph(data), CPU)
    edges = zip(graph.target.tolist(), graph.relation.tolist(), graph.source.tolist(), strict=True)
    assert list(edges) == [(2, 0, 4), (4, 1, 2), (3, 2, 0), (2, 2, 1), (0, 3, 3), (1, 3, 2)]
    assert (graph.num_users, graph.num_nodes, graph.num_relations, len(graph)) == (2, 5, 4, 6)


def test_every_triple_has_its_inverse() -> None:
    graph = CollaborativeGraph.of(build_graph(random_dataset(3)), CPU)
    R = graph.num_relations // 2 - 1
    inverse = {
        **{r: R + r for r in range(R)},
        **{R + r: r for r in range(R)},
        2 * R: 2 * R + 1,
        2 * R + 1: 2 * R,
    }
    edges = set(zip(graph.target.tolist(), graph.relation.tolist(), graph.source.tolist(), strict=True))
    assert edges == {(tail, inverse[relation], head) for head, relation, tail in edges}


def test_pairs_are_distinct_and_lead_back_to_the_edges() -> None:
    graph = CollaborativeGraph.of(build_graph(random_dataset(3)), CPU)
    for pairs, node in ((graph.senders, graph.source), (graph.receivers, graph.target)):
        assert torch.equal(pairs.node[pairs.of_edge], node)
        assert torch.equal(pairs.relation[pairs.of_edge], graph.relation)
        assert torch.equal(pairs.relation, pairs.relation.sort().values)
        assert (
            len(set(zip(pairs.node.tolist(), pairs.relation.tolist(), strict=True)))
            == len(pairs)
            < len(graph)
        )


def test_dgl_graphs_have_the_edges_in_order() -> None:
    graph = CollaborativeGraph.of(build_graph(random_dataset(3)), CPU)
    for form, source, target in (
        (graph.graph, graph.source, graph.target),
        (graph.from_senders, graph.senders.of_edge, graph.target),
        (graph.between_pairs, graph.senders.of_edge, graph.receivers.of_edge),
    ):
        assert all(map(torch.equal, form.edges(order="eid"), (source, target)))


def test_a_part_of_the_edges_keeps_all_nodes() -> None:
    graph = CollaborativeGraph.of(build_graph(random_dataset(3)), CPU)
    part = graph.keep(graph.relation == 1)
    assert part.senders.relation.unique().tolist() == [1]
    assert part.graph.num_nodes() == graph.num_nodes


def test_it_refuses_a_device_that_dgl_does_not_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spike_dgl.dgl_import.why_dgl_does_not_run_on", lambda _: "no CUDA")
    with pytest.raises(DglDeviceError, match=r"training\.device=cpu"):
        CollaborativeGraph.of(build_graph(random_dataset(3)), CPU)
