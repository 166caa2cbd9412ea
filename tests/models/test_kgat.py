"""KGAT, against loops over triples in double precision."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spike_dgl.graph import build_graph
from spike_dgl.models.base import Batch, ModelInputs
from spike_dgl.models.kgat import Kgat, KgatOptions
from spike_dgl.training.seeding import seed_everything
from tests.toy import random_dataset

DATA = random_dataset(4)
BATCH = Batch(torch.tensor([0, 1, 2]), torch.tensor([0, 3, 5]), torch.tensor([1, 2, 4]))


def kgat(**options: object) -> Kgat:
    seed_everything(0)
    sizes = {"embedding_dim": 6, "layer_dims": (5, 3)}
    model = Kgat(ModelInputs(build_graph(DATA)), KgatOptions(**(sizes | options)))
    with torch.no_grad():
        model.embedding *= 3.0
    return model.double().eval()


def dense_attention(model: Kgat) -> Tensor:
    """Return [U + N, U + N] with parallel edges added up."""
    graph, e, W = model.graph, model.embedding, model.relation_matrices
    weights = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.float64)
    for node in graph.dst.unique().tolist():
        edges = (graph.dst == node).nonzero().flatten().tolist()
        tails, relations = graph.src[edges], graph.relation[edges]
        logits = [
            (e[t] @ W[r]) @ torch.tanh(e[node] @ W[r] + model.relations[r])
            for t, r in zip(tails, relations, strict=True)
        ]
        weights[node].index_add_(0, tails, torch.softmax(torch.stack(logits).detach(), 0))
    return weights


def test_attention_and_hops_follow_the_equations() -> None:
    model = kgat()
    attention = dense_attention(model)
    state, results = model.embedding, [model.embedding]
    for layer in model.layers:
        gathered = attention @ state
        one, two = layer.of_sum, layer.of_product
        state = functional.leaky_relu(
            (state + gathered) @ one.weight.T + one.bias, 0.2
        ) + functional.leaky_relu((state * gathered) @ two.weight.T + two.bias, 0.2)
        results.append(functional.normalize(state))
    torch.testing.assert_close(model.propagate(), torch.cat(results, dim=1))


def test_attention_of_a_receiver_sums_to_one() -> None:
    model = kgat()
    sums = torch.zeros(model.graph.num_nodes, 1, dtype=torch.float64)
    sums.index_add_(0, model.graph.dst, model.attention().detach())
    receivers = model.graph.dst.unique()
    torch.testing.assert_close(sums[receivers], torch.ones_like(sums[receivers]))


def test_triple_loss_by_hand() -> None:
    model = kgat()
    edges, corrupted = torch.tensor([1, 4, 40]), torch.tensor([3, 0, 9])
    e, W, terms = model.embedding, model.relation_matrices, []
    for edge, other in zip(edges, corrupted, strict=True):
        h, r, t = model.graph.dst[edge], model.graph.relation[edge], model.graph.src[edge]
        near, far = ((e[h] @ W[r] + model.relations[r] - e[end] @ W[r]).square().sum() for end in (t, other))
        terms.append(-torch.log(torch.sigmoid(far - near)))
    torch.testing.assert_close(model.triple_loss(edges, corrupted), torch.stack(terms).mean())


def test_triples_are_drawn_anew_each_step_and_from_the_seed() -> None:
    model = kgat(kg_batch_size=8)
    torch.manual_seed(1)
    first, second = (model.loss(BATCH)["triples"] for _ in range(2))
    torch.manual_seed(1)
    assert model.loss(BATCH)["triples"] == first != second


def test_terms_and_their_weights() -> None:
    assert kgat(kg_weight=0.0, l2_weight=0.0).loss(BATCH).keys() == {"bpr"}
    assert kgat().loss(BATCH).keys() == {"bpr", "l2", "triples"}
    once = kgat().loss(BATCH)["triples"]
    torch.testing.assert_close(kgat(kg_weight=3.0).loss(BATCH)["triples"], 3.0 * once)


def test_the_ranking_loss_trains_the_attention() -> None:
    model = kgat(kg_weight=0.0)
    model.loss(BATCH)["bpr"].backward()
    assert model.relation_matrices.grad.abs().sum() > 0
    assert model.relations.grad.abs().sum() > 0
