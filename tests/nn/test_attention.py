"""The attention layer against hand-computed values, its definition on the heterograph, and finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from spike_dgl.graph import build_graph, num_relation_rows, with_similar_items
from spike_dgl.nn.attention import RelationalAttention
from spike_dgl.nn.definition import attend_on_heterograph
from spike_dgl.nn.kernels import mean_of_sources
from spike_dgl.nn.message_graph import message_graph
from tests.toy import dataset, random_dataset


def layer_of(graph, dim: int = 6, heads: int = 2, kernels: str = "auto") -> RelationalAttention:
    torch.manual_seed(0)
    return RelationalAttention(num_relation_rows(graph), dim, heads, kernels).double()


def test_one_entity_with_two_neighbours_by_hand() -> None:
    # Item 0 has the facts (0, r0, 1) and (0, r1, 2); D = H = 1, W_Q = 1, relations 2 and 3 (and 5 for inverses).
    graph = build_graph(dataset([(0, 0)], [(0, 0, 1), (0, 1, 2)], sizes=(1, 1, 3, 2)))
    layer = RelationalAttention(num_relation_rows(graph), 1, 1).double()
    with torch.no_grad():
        layer.query_projection.fill_(1.0)
        layer.relation_embedding.copy_(torch.tensor([[2.0], [3.0], [5.0], [5.0], [7.0]]))
    states = torch.tensor([[9.0], [0.5], [1.0], [-1.0]], dtype=torch.float64)  # user, then entities 0, 1, 2
    gathered, attention = layer(message_graph(graph, users_among_neighbours=False), states)
    # logits 0.5 * (1 * 2) = 1 and 0.5 * (-1 * 3) = -1.5; messages 2 and -3
    weight = 1.0 / (1.0 + math.exp(-2.5))
    assert gathered[0].item() == pytest.approx(2 * weight - 3 * (1 - weight))
    assert gathered[1].item() == pytest.approx(0.5 * 5)  # entity 1 hears item 0 through the inverse
    assert sorted(attention.flatten().tolist()) == pytest.approx(sorted([weight, 1 - weight, 1.0, 1.0]))


@pytest.mark.parametrize("kernels", ["compiled", "torch", "dgl"])
@pytest.mark.parametrize("users_among_neighbours", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_equals_its_definition_on_the_heterograph(
    seed: int, users_among_neighbours: bool, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "spike_dgl.nn.kernels.with_torch.EDGES_PER_BLOCK", 7
    )  # several blocks, the last one short
    data = random_dataset(seed)
    graph = with_similar_items(build_graph(data), torch.tensor([0, 0, 3, 4]), torch.tensor([1, 3, 0, 2]))
    layer = layer_of(graph, kernels=kernels)
    states = torch.randn(data.num_users + data.num_entities, 6, dtype=torch.float64, requires_grad=True)
    fast, _ = layer(message_graph(graph, users_among_neighbours=users_among_neighbours), states)
    defined = attend_on_heterograph(layer, graph, states, users_among_neighbours=users_among_neighbours)
    torch.testing.assert_close(fast, defined, rtol=1e-12, atol=1e-12)
    inputs = (states, layer.query_projection, layer.relation_embedding)
    weight = torch.randn_like(fast)
    for ours, theirs in zip(
        torch.autograd.grad((fast * weight).sum(), inputs),
        torch.autograd.grad((defined * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_gradients_match_finite_differences() -> None:
    data = random_dataset(5, sizes=(3, 4, 7, 2), density=10)
    graph = build_graph(data)
    layer, messages = layer_of(graph, dim=4), message_graph(graph, users_among_neighbours=True)
    states = torch.randn(10, 4, dtype=torch.float64, requires_grad=True)

    def gathered(states, projection, relations):
        weights = {"query_projection": projection, "relation_embedding": relations}
        return torch.func.functional_call(layer, weights, (messages, states))[0]

    assert torch.autograd.gradcheck(gathered, (states, layer.query_projection, layer.relation_embedding))


def test_weights_of_an_entity_sum_to_one_and_isolated_entities_stay_zero() -> None:
    data = random_dataset(1)
    graph = build_graph(data)
    messages = message_graph(graph, users_among_neighbours=True)
    gathered, attention = layer_of(graph)(messages, torch.randn(22, 6, dtype=torch.float64))
    heads = messages.edges.target
    sums = torch.zeros(data.num_entities, 2, dtype=torch.float64).index_add(0, heads, attention)
    has_edge = heads.bincount(minlength=data.num_entities) > 0
    torch.testing.assert_close(sums, has_edge.double()[:, None].expand(-1, 2))
    assert not has_edge[-1]
    assert (gathered[-1] == 0).all()


def test_messages_are_shared_by_source_and_relation() -> None:
    # Three heads hear entity 3 through one relation: one message, three edges; the inverses are three messages.
    graph = build_graph(dataset([(0, 0)], [(0, 0, 3), (1, 0, 3), (2, 0, 3)], sizes=(1, 3, 4, 1)))
    messages = message_graph(graph, users_among_neighbours=False)
    assert len(messages.pair_node) == 4
    assert len(messages.edges) == 6


@pytest.mark.parametrize("kernels", ["compiled", "torch", "dgl"])
def test_pooling_is_the_mean_of_a_users_items(kernels: str) -> None:
    graph = build_graph(dataset([(0, 0), (0, 2), (1, 1)], [(0, 0, 3)], sizes=(3, 3, 4, 1)))
    states = torch.tensor([[2.0], [5.0], [4.0], [100.0]], requires_grad=True)
    pooling = message_graph(graph, users_among_neighbours=False).pooling
    pooled = mean_of_sources(pooling, states, kernels)
    assert pooled.flatten().tolist() == [3.0, 5.0, 0.0]
    (pooled.flatten() * torch.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert states.grad.flatten().tolist() == [0.5, 10.0, 0.5, 0.0]


@pytest.mark.parametrize("kernels", ["compiled", "torch", "dgl"])
def test_a_graph_without_edges_gathers_nothing(kernels: str) -> None:
    graph = build_graph(dataset([], [], sizes=(1, 2, 3, 1)))
    states = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    messages = message_graph(graph, users_among_neighbours=True)
    gathered, attention = layer_of(graph, kernels=kernels)(messages, states)
    gathered.sum().backward()
    assert gathered.tolist() == [[0.0] * 6] * 3
    assert attention.shape == (0, 2)


def test_no_tensor_of_edges_by_dimension_is_kept_for_the_backward_pass() -> None:
    data = random_dataset(1, density=200)
    graph = build_graph(data)
    messages = message_graph(graph, users_among_neighbours=True)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda t: t):
        layer_of(graph)(messages, torch.randn(22, 6, dtype=torch.float64, requires_grad=True))
    assert kept
    assert max(tensor.numel() for tensor in kept) <= max(22 * 6, len(messages.edges) * 2)
    assert len(messages.edges) > 22 * 3


def test_dimension_must_divide_into_heads() -> None:
    with pytest.raises(ValueError, match="not a multiple"):
        RelationalAttention(3, 7, 2)


def test_relations_may_begin_as_the_identity() -> None:
    layer = RelationalAttention(5, 64, 2, relation_init="identity")
    difference = layer.relation_embedding.detach() - 1.0
    assert 0.0 < difference.abs().max() < 0.5
    assert abs(float(difference.mean())) < 0.05
