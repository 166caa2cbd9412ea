"""R-GCN, against dense matrices and DGL's own layer."""

from __future__ import annotations

import pytest
import torch

from spike_dgl.dgl_import import dgl
from spike_dgl.errors import ConfigError
from spike_dgl.graph import build_graph
from spike_dgl.models.base import Batch, ModelInputs
from spike_dgl.models.r_gcn import Rgcn, RgcnOptions
from spike_dgl.training.seeding import seed_everything
from tests.toy import random_dataset

DATA = random_dataset(4)
BATCH = Batch(torch.tensor([0, 1, 2]), torch.tensor([0, 3, 5]), torch.tensor([1, 2, 4]))


def rgcn(**options: object) -> Rgcn:
    seed_everything(0)
    return Rgcn(ModelInputs(build_graph(DATA)), RgcnOptions(embedding_dim=6, num_bases=3, **options)).double()


def test_hops_follow_the_equation() -> None:
    model = rgcn().eval()
    graph, state = model.graph, model.embedding
    adjacency = torch.zeros(graph.num_relations, graph.num_nodes, graph.num_nodes, dtype=torch.float64)
    for relation, target, source in zip(graph.relation, graph.dst, graph.src, strict=True):
        adjacency[relation, target, source] += 1
    means = adjacency / adjacency.sum(-1, keepdim=True).clamp(min=1)
    total = state
    for number, layer in enumerate(model.layers):
        matrices = (layer.coefficients[:, :, None, None] * layer.bases).sum(1)
        state = state @ layer.own.weight.T + (means @ state @ matrices).sum(0)
        state = torch.relu(state) if number == 0 else state
        total = total + state
    torch.testing.assert_close(model.propagate(), state, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(rgcn(readout="sum").eval().propagate(), total, rtol=1e-6, atol=1e-8)


def test_a_hop_equals_dgls_layer_and_its_gradients() -> None:
    model = rgcn(num_layers=1).eval()
    graph, layer = model.graph, model.layers[0]
    theirs = dgl.nn.RelGraphConv(6, 6, graph.num_relations, "basis", 3, bias=False, self_loop=True).double()
    with torch.no_grad():
        theirs.linear_r.W.copy_(layer.bases)
        theirs.linear_r.coeff.copy_(layer.coefficients)
        theirs.loop_weight.copy_(layer.own.weight.T)
    whole = dgl.graph((graph.src, graph.dst), num_nodes=graph.num_nodes)
    expected = theirs(whole, model.embedding, graph.relation, model.neighbour_share, presorted=True)
    ours = model.propagate()
    torch.testing.assert_close(ours, expected)
    probe = torch.randn_like(ours)
    (by_theirs,) = torch.autograd.grad((expected * probe).sum(), model.embedding)
    (by_ours,) = torch.autograd.grad((ours * probe).sum(), model.embedding)
    torch.testing.assert_close(by_ours, by_theirs)


def test_dropout_is_of_edges_and_of_the_node_itself_in_training_only() -> None:
    for options in (
        {"edge_dropout": 0.5, "self_dropout": 0.0},
        {"edge_dropout": 0.0, "self_dropout": 0.5},
    ):
        model = rgcn(**options)
        assert not torch.equal(model.propagate(), model.propagate())
        model.eval()
        assert torch.equal(model.propagate(), model.propagate())


def test_terms() -> None:
    assert rgcn().loss(BATCH).keys() == {"bpr"}
    assert rgcn(ranking_loss="softmax", l2_weight=0.1).loss(BATCH).keys() == {"softmax", "l2"}


def test_neighbours_are_sampled_on_partitions_only() -> None:
    with pytest.raises(ConfigError, match=r"Leave out model\.fanout"):
        rgcn(fanout=(5, 5)).loss(BATCH)
    with pytest.raises(ValueError, match="one number per layer"):
        RgcnOptions(fanout=(5,))
