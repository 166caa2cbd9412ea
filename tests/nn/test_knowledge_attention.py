from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, normalize

from spike_dgl.nn.layers.knowledge_attention import KnowledgeAttention

N, R, D = 5, 3, 4
HEADS = torch.tensor([0, 0, 1, 1, 1, 3])
TAILS = torch.tensor([1, 2, 0, 3, 3, 1])
RELATIONS = torch.tensor([0, 1, 0, 2, 1, 2])


def layer(edges: Tensor | None = None, dropout: float = 0.0) -> KnowledgeAttention:
    torch.manual_seed(0)
    chosen = torch.arange(len(HEADS)) if edges is None else edges
    return KnowledgeAttention(
        HEADS[chosen],
        TAILS[chosen],
        RELATIONS[chosen],
        num_entities=N,
        num_relations=R,
        embedding_dim=D,
        num_layers=2,
        dropout=dropout,
        residual_weight=0.5,
        device=torch.device("cpu"),
    ).double()


def states() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(N, D, dtype=torch.float64, requires_grad=True)


def dense(attention: KnowledgeAttention, entities: Tensor) -> Tensor:
    state = result = entities
    for _ in range(2):
        both = torch.cat([state[HEADS], state[TAILS]], dim=-1) @ attention.projection
        logits = leaky_relu((both * attention.relation_embedding[RELATIONS]).sum(-1), 0.2)
        matrix = torch.zeros(N, N, dtype=torch.float64)
        for entity in range(N):
            mine = entity == HEADS
            matrix[entity].index_add_(0, TAILS[mine], logits[mine].softmax(0))
        state = normalize(state + matrix @ state)
        result = 0.5 * result + state
    return result


def test_it_is_the_equation() -> None:
    attention, entities = layer(), states()
    torch.testing.assert_close(attention(entities), dense(attention, entities))


def test_gradients_are_those_of_the_equation() -> None:
    attention, entities = layer(), states()
    inputs = [entities, *attention.parameters()]
    of_layer = torch.autograd.grad(attention(entities).square().sum(), inputs)
    of_equation = torch.autograd.grad(dense(attention, entities).square().sum(), inputs)
    for one, other in zip(of_layer, of_equation, strict=True):
        torch.testing.assert_close(one, other)


def test_some_edges_are_a_graph_of_their_own() -> None:
    kept = torch.tensor([0, 3, 5])
    torch.testing.assert_close(
        layer()(states(), torch.isin(torch.arange(len(HEADS)), kept)), layer(kept)(states())
    )


def test_dropout_is_for_training() -> None:
    attention = layer(dropout=0.5)
    torch.testing.assert_close(attention.eval()(states()), layer()(states()))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(attention.train()(states()), layer()(states()))
