"""CompGCN, against loops over edges in double precision."""

from __future__ import annotations

import pytest
import torch

from spike_dgl.graph import build_graph
from spike_dgl.models.base import ModelInputs
from spike_dgl.models.comp_gcn import CompGcn, CompGcnOptions, compose
from spike_dgl.training.seeding import seed_everything
from tests.toy import dataset, random_dataset

DATA = random_dataset(4)
COMPOSITIONS = ("subtraction", "multiplication", "correlation")


def comp_gcn(data: object = DATA, **options: object) -> CompGcn:
    seed_everything(0)
    return CompGcn(ModelInputs(build_graph(data)), CompGcnOptions(embedding_dim=6, **options)).double()


def test_compositions_by_hand() -> None:
    x, z = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[4.0, 5.0, 7.0]])
    assert compose(x, z, "subtraction").tolist() == [[-3, -3, -4]]
    assert compose(x, z, "multiplication").tolist() == [[4, 10, 21]]
    # k = 0: 1*4 + 2*5 + 3*7, k = 1: 1*5 + 2*7 + 3*4, k = 2: 1*7 + 2*4 + 3*5
    torch.testing.assert_close(compose(x, z, "correlation"), torch.tensor([[35.0, 31.0, 30.0]]))


@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_hops_follow_the_equation(composition: str) -> None:
    model = comp_gcn(composition=composition).eval()
    graph, state, relations = model.graph, model.embedding, model.relations
    total = state
    edges = list(zip(graph.src.tolist(), graph.dst.tolist(), graph.relation.tolist(), strict=True))
    R = DATA.num_relations
    inverse = [R <= r <= 2 * R for *_, r in edges]

    def degree(node: int, end: int, way: bool) -> int:
        return sum(edge[end] == node and other == way for edge, other in zip(edges, inverse, strict=True))

    for number, layer in enumerate(model.layers):
        own = compose(state, layer.self_relation, composition) @ layer.own.weight.T
        rows = list(own)
        for (u, v, r), way in zip(edges, inverse, strict=True):
            message = compose(state[u, None], relations[r, None], composition)[0] @ layer.matrices[int(way)]
            rows[v] = rows[v] + message / (degree(u, 0, way) * degree(v, 1, way)) ** 0.5
        state = torch.tanh(torch.stack(rows) / 3)
        total = total + state
        if number == 0:
            relations = relations @ model.relation_updates[0].weight.T
    torch.testing.assert_close(model.propagate(), state, rtol=1e-6, atol=1e-8)
    model = comp_gcn(composition=composition, readout="sum").eval()
    torch.testing.assert_close(model.propagate(), total, rtol=1e-6, atol=1e-8)


def test_interactions_and_inverse_relations_take_the_direction_of_their_edge() -> None:
    model = comp_gcn(dataset([(0, 0)], [(0, 0, 1), (0, 1, 1)], sizes=(1, 1, 2, 2)))
    # Two relations, their inverses, items from users (by the inverse of an interaction), users from items.
    assert model.layers[0].directions.tolist() == [0, 0, 1, 1, 1, 0]


def test_dropout_is_in_training_only() -> None:
    model = comp_gcn(dropout=0.5)
    assert not torch.equal(model.propagate(), model.propagate())
    model.eval()
    assert torch.equal(model.propagate(), model.propagate())
