"""SpikeConv against hand-computed values, between backends, against DGL's layers, and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from spike_dgl.dgl_import import DGLGraph, dgl
from spike_dgl.graph import build_graph, entity_edge_types, with_similar_items
from spike_dgl.nn.graphs.messages import MessageGraph, message_graph
from spike_dgl.nn.kernels import mean_of_sources
from spike_dgl.nn.layers.spike_conv import SpikeConv
from tests.toy import dataset, random_dataset

BACKENDS = ["compiled", "torch", "dgl"]


def conv_of(graph: DGLGraph, dim: int = 6, heads: int = 2, **options: object) -> SpikeConv:
    torch.manual_seed(0)
    return SpikeConv(dim, heads, entity_edge_types(graph), **options).double()


def messages_of(graph: DGLGraph) -> MessageGraph:
    return message_graph(graph, users_among_neighbours=True)


def random_graph(seed: int) -> DGLGraph:
    """Return users, items with text neighbours, and entities, one of them without edges."""
    graph = build_graph(random_dataset(seed))
    return with_similar_items(graph, torch.tensor([0, 0, 3, 4]), torch.tensor([1, 3, 0, 2]))


def random_features(graph: DGLGraph, dim: int = 6) -> dict[str, torch.Tensor]:
    return {
        ntype: torch.randn(graph.num_nodes(ntype), dim, dtype=torch.float64, requires_grad=True)
        for ntype in graph.ntypes
    }


def test_one_entity_with_two_neighbours_by_hand() -> None:
    # Item 0 has the triples (0, r0, 1) and (0, r1, 2); D = H = 1, W_Q = 1, relations 2 and 3 (and 5 for inverses).
    graph = build_graph(dataset([(0, 0)], [(0, 0, 1), (0, 1, 2)], sizes=(1, 1, 3, 2)))
    conv = conv_of(graph, dim=1, heads=1)
    with torch.no_grad():
        conv.query_projection.fill_(1.0)
        conv.relation_embedding.copy_(torch.tensor([[2.0], [3.0], [5.0], [5.0], [7.0]]))
    states = torch.tensor([[9.0], [0.5], [1.0], [-1.0]], dtype=torch.float64)  # user, then entities 0, 1, 2
    messages = message_graph(graph, users_among_neighbours=False)
    aggregated, attention = conv.aggregate(messages, states)
    # logits 0.5 * (1 * 2) = 1 and 0.5 * (-1 * 3) = -1.5; messages 2 and -3
    weight = 1.0 / (1.0 + math.exp(-2.5))
    assert aggregated[1].item() == pytest.approx(2 * weight - 3 * (1 - weight))
    assert aggregated[2].item() == pytest.approx(0.5 * 5)  # entity 1 receives from item 0 by the inverse
    assert aggregated[0].item() == 0.5  # the mean of the user's only item
    assert sorted(attention.flatten().tolist()) == pytest.approx(sorted([weight, 1 - weight, 1.0, 1.0]))
    states, _ = conv.hop(messages, states)
    assert states.flatten().tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0])


@pytest.mark.parametrize("transform", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_all_backends_give_the_same_on_the_heterograph_with_gradients(
    seed: int, transform: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spike_dgl.nn.kernels.segments.EDGES_PER_BLOCK", 7)  # several, the last one short
    graph = random_graph(seed)
    features = random_features(graph)
    found = {}
    for backend in BACKENDS:
        conv = conv_of(graph, backend=backend, mean_transform=transform)
        out, attention = conv(graph, features, get_attention=True)
        loss = sum((rows * (rows + 1).cumsum(0)).sum() for rows in out.values())
        inputs = (*features.values(), *conv.parameters())
        found[backend] = (out, attention, torch.autograd.grad(loss, inputs))
    out, attention, gradients = found["dgl"]
    assert set(out) == {"user", "entity"}
    for backend in BACKENDS[:2]:
        other_out, other_attention, other_gradients = found[backend]
        for ntype, rows in out.items():
            torch.testing.assert_close(other_out[ntype], rows, rtol=1e-12, atol=1e-12)
        for etype, weights in attention.items():
            torch.testing.assert_close(other_attention[etype], weights, rtol=1e-12, atol=1e-12)
        for ours, theirs in zip(other_gradients, gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbered_nodes_give_what_the_heterograph_gives(backend: str) -> None:
    graph = random_graph(4)
    features, conv = random_features(graph), conv_of(graph, backend=backend)
    out = conv(graph, features)
    states, _ = conv.hop(messages_of(graph), torch.cat([features["user"], features["entity"]]))
    torch.testing.assert_close(states, torch.cat([out["user"], out["entity"]]), rtol=1e-12, atol=1e-12)
    some = torch.tensor([3, 0, 12])
    chosen, _ = conv.hop(messages_of(graph), torch.cat([features["user"], features["entity"]]), some)
    assert torch.equal(chosen, states[some])


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_heterograph_and_a_part_of_its_edge_types(backend: str) -> None:
    graph = dgl.heterograph(
        {
            ("paper", "cites", "paper"): ([0, 1, 2, 0], [1, 2, 0, 2]),
            ("author", "writes", "paper"): ([0, 0, 1], [0, 1, 2]),
            ("paper", "written by", "author"): ([0, 1, 2], [0, 0, 1]),
            ("venue", "prints", "paper"): ([0], [1]),
        },
        {"paper": 4, "author": 2, "venue": 1},
    )
    etypes = [("author", "writes", "paper"), ("paper", "cites", "paper"), ("ghost", "haunts", "paper")]
    torch.manual_seed(0)
    conv = SpikeConv(4, 2, etypes, mean_ntypes=["author"], backend=backend).double()
    features = random_features(graph, 4)
    out, attention = conv(graph, features, get_attention=True)
    assert {etype: tuple(weights.shape) for etype, weights in attention.items()} == {
        ("author", "writes", "paper"): (3, 2),
        ("paper", "cites", "paper"): (4, 2),
    }
    expected = functional.normalize((features["paper"][0] + features["paper"][1]) / 2, dim=0)
    torch.testing.assert_close(out["author"][0], expected)
    assert (out["paper"][3] == 0).all()  # no edge
    assert (out["venue"] == 0).all()  # no edge type of the layer
    sums = torch.zeros(4, 2, dtype=torch.float64)
    for etype, weights in attention.items():
        sums.index_add_(0, graph.edges(etype=etype)[1], weights)
    torch.testing.assert_close(sums[:3], torch.ones(3, 2, dtype=torch.float64))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_block_gives_the_states_of_its_destinations(backend: str) -> None:
    graph = random_graph(2)
    features, conv = random_features(graph), conv_of(graph, backend=backend)
    seeds = {"user": torch.tensor([1, 4]), "entity": torch.tensor([3, 0])}
    block = dgl.to_block(dgl.in_subgraph(graph, seeds), seeds)
    sources = {ntype: rows[block.srcnodes[ntype].data[dgl.NID]] for ntype, rows in features.items()}
    out, whole = conv(block, sources), conv(graph, features)
    for ntype, rows in seeds.items():
        torch.testing.assert_close(out[ntype], whole[ntype][rows], rtol=1e-12, atol=1e-12)


def test_one_head_without_relations_is_dgls_dot_product_attention() -> None:
    """With relation embeddings of one it equals `dgl.nn.DotGatConv` without the projection of values."""
    graph = build_graph(random_dataset(3, sizes=(5, 8, 8, 1), density=60))
    etype = ("user", "interacts", "entity")
    conv = SpikeConv(6, 1, [etype], backend="dgl").double()
    with torch.no_grad():
        conv.relation_embedding.fill_(1.0)
    features = random_features(graph)
    _, attention = conv(graph, features, get_attention=True)
    theirs = dgl.nn.DotGatConv((6, 6), 6, 1, allow_zero_in_degree=True).double()
    with torch.no_grad():
        theirs.fc_src.weight.copy_(conv.query_projection.T)
        theirs.fc_dst.weight.copy_(conv.query_projection.T)
    pairs = graph.edge_type_subgraph([etype])
    _, weights = theirs(pairs, (features["user"], features["entity"]), get_attention=True)
    torch.testing.assert_close(attention[etype], weights.squeeze(-1))


def test_gradients_match_finite_differences() -> None:
    graph = build_graph(random_dataset(5, sizes=(3, 4, 7, 2), density=10))
    conv, messages = conv_of(graph, dim=4, mean_transform=True), messages_of(graph)
    states = torch.randn(10, 4, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in conv.named_parameters()]

    def aggregated(states, *values):
        weights = {f"conv.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(Aggregated(conv), weights, (messages, states))

    assert torch.autograd.gradcheck(aggregated, (states, *conv.parameters()))


class Aggregated(torch.nn.Module):
    """Module whose call returns the aggregated messages of a hop."""

    def __init__(self, conv: SpikeConv) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, messages: MessageGraph, states: torch.Tensor) -> torch.Tensor:
        return self.conv.aggregate(messages, states)[0]


def test_weights_of_an_entity_sum_to_one_and_isolated_entities_stay_zero() -> None:
    data = random_dataset(1)
    graph = build_graph(data)
    messages = messages_of(graph)
    aggregated, attention = conv_of(graph).aggregate(messages, torch.randn(22, 6, dtype=torch.float64))
    heads = messages.attended.dst
    sums = torch.zeros(data.num_entities, 2, dtype=torch.float64).index_add(0, heads, attention)
    has_edge = heads.bincount(minlength=data.num_entities) > 0
    torch.testing.assert_close(sums, has_edge.double()[:, None].expand(-1, 2))
    assert not has_edge[-1]
    assert (aggregated[-1] == 0).all()


def test_messages_are_shared_by_source_and_relation() -> None:
    # Three heads receive from entity 3 by one relation: one message, three edges; the inverses are three messages.
    graph = build_graph(dataset([(0, 0)], [(0, 0, 3), (1, 0, 3), (2, 0, 3)], sizes=(1, 3, 4, 1)))
    messages = message_graph(graph, users_among_neighbours=False)
    assert len(messages.pair_src) == 4
    assert len(messages.attended) == 6


@pytest.mark.parametrize("backend", BACKENDS)
def test_users_average_their_items(backend: str) -> None:
    graph = build_graph(dataset([(0, 0), (0, 2), (1, 1)], [(0, 0, 3)], sizes=(3, 3, 4, 1)))
    states = torch.tensor([[9.0], [9.0], [9.0], [2.0], [5.0], [4.0], [100.0]], requires_grad=True)
    means = mean_of_sources(messages_of(graph).pooled, states, backend)
    assert means.flatten().tolist() == [3.0, 5.0, 0.0]
    (means.flatten() * torch.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert states.grad.flatten().tolist() == [0.0, 0.0, 0.0, 0.5, 10.0, 0.5, 0.0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_graph_without_edges_aggregates_nothing(backend: str) -> None:
    graph = build_graph(dataset([], [], sizes=(1, 2, 3, 1)))
    states = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    conv = conv_of(graph, backend=backend)
    aggregated, attention = conv.aggregate(messages_of(graph), states)
    aggregated.sum().backward()
    assert aggregated.tolist() == [[0.0] * 6] * 4
    assert attention.shape == (0, 2)
    out, _ = conv(graph, {"user": states[:1], "entity": states[1:]}, get_attention=True)
    assert not any(rows.any() for rows in out.values())


def test_no_tensor_of_edges_by_dimension_is_kept_for_the_backward_pass() -> None:
    graph = build_graph(random_dataset(1, density=200))
    messages = messages_of(graph)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda t: t):
        conv_of(graph).hop(messages, torch.randn(22, 6, dtype=torch.float64, requires_grad=True))
    assert kept
    assert max(tensor.numel() for tensor in kept) <= max(22 * 6, len(messages.attended) * 2)
    assert len(messages.attended) > 22 * 3


def test_dimension_must_divide_into_heads() -> None:
    with pytest.raises(ValueError, match="not a multiple"):
        SpikeConv(7, 2, [])


def test_relations_may_begin_as_the_identity() -> None:
    conv = SpikeConv(64, 2, [("a", str(row), "b") for row in range(5)], relation_init="identity")
    difference = conv.relation_embedding.detach() - 1.0
    assert 0.0 < difference.abs().max() < 0.5
    assert abs(float(difference.mean())) < 0.05
