"""CoLaKG against its equations."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional

from spike_dgl.errors import ConfigError
from spike_dgl.models import cola_kg
from spike_dgl.models.cola_kg import CoLaKG, CoLaKGOptions
from spike_dgl.nn.graphs.edge_list import EdgeList
from spike_dgl.nn.graphs.text_neighbours import text_neighbours
from tests.models.dense import BATCH, I, U, bpr, inputs, mean_of_powers, normalised


def build(**options: float) -> CoLaKG:
    torch.manual_seed(1)
    return CoLaKG(inputs(), CoLaKGOptions(embedding_dim=5, num_neighbours=3, **options))


def fused_by_hand(model: CoLaKG) -> torch.Tensor:
    """Compute [h_u ; h'_i], item by item and neighbour by neighbour."""
    texts, (others, neighbours) = model.item_texts, text_neighbours(model.item_texts, 3)
    users, items = (
        (ids + functional.elu(vectors @ adapter.linear.weight.T + adapter.linear.bias)) / 2
        for ids, vectors, adapter in (
            (model.embedding[:U], model.user_texts, model.user_adapter),
            (model.embedding[U:], texts, model.item_adapter),
        )
    )
    keys, (as_neighbour, as_item) = texts @ model.attention.key.weight.T, model.attention.score.weight
    rows = []
    for item in range(I):
        around = neighbours[others == item]
        scores = [functional.leaky_relu(as_neighbour @ keys[n] + as_item @ keys[item], 0.2) for n in around]
        weights = torch.stack(scores).softmax(0)
        rows.append((items[item] + functional.elu(weights @ items[around])) / 2)
    return torch.cat([users, torch.stack(rows)])


def test_propagation_and_loss_equal_the_equations_by_hand() -> None:
    model = build().eval()
    expected = mean_of_powers(normalised(model.interactions), fused_by_hand(model), 3)
    torch.testing.assert_close(model.propagate(), expected)
    terms = model.loss(BATCH)
    torch.testing.assert_close(terms["bpr"], bpr(expected))
    assert list(terms) == ["bpr", "l2"]


def test_attention_over_the_neighbours_of_an_item_sums_to_one() -> None:
    model = build()
    weights = model.attention.weights(model.neighbours, model.item_texts).flatten()
    sums = torch.zeros(I).index_add(0, model.neighbours.dst, weights)
    torch.testing.assert_close(sums, torch.ones(I))


def test_an_item_without_neighbours_hears_nothing() -> None:
    edges = EdgeList(torch.tensor([0, 2]), torch.tensor([2, 0]), 3, 3)
    attention = cola_kg.NeighbourAttention(2, 0.0)
    assert not attention(edges, torch.rand(3, 2), torch.ones(3, 4))[1].any()


def test_dropout_acts_in_training_only() -> None:
    model = build()
    assert not torch.equal(model.propagate(), model.propagate())
    model.eval()
    assert torch.equal(model.propagate(), model.propagate())


def test_low_precision_trains_too() -> None:
    model = build()
    with torch.autocast("cpu", torch.bfloat16):
        terms = model.loss(BATCH)
    sum(terms.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("missing", ["user_vectors", "entity_vectors"])
def test_without_profiles_it_says_what_to_set(missing: str) -> None:
    with pytest.raises(ConfigError, match=r"cola-kg .* no profiles\n.*profiles\.source"):
        CoLaKG(dataclasses.replace(inputs(), **{missing: None}), CoLaKGOptions())
