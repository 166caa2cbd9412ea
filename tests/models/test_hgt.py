"""HGT, against loops over edges and DGL's own layer."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from spike_dgl.dgl_import import dgl
from spike_dgl.graph import build_graph
from spike_dgl.models.base import ModelInputs
from spike_dgl.models.hgt import HeterogeneousAttention, Hgt, HgtOptions
from spike_dgl.training.seeding import seed_everything
from tests.toy import random_dataset

DATA = random_dataset(4)


def hgt(**options: object) -> Hgt:
    seed_everything(0)
    model = Hgt(
        ModelInputs(build_graph(DATA)), HgtOptions(**({"embedding_dim": 6, "num_heads": 2} | options))
    )
    for layer in model.layers:
        torch.nn.init.normal_(layer.relation_prior)
        torch.nn.init.normal_(layer.skip)
    with torch.no_grad():
        model.embedding *= 3.0
    return model.double().eval()


def hop_over_edges(layer: HeterogeneousAttention, model: Hgt, state: torch.Tensor) -> torch.Tensor:
    """Compute the equation node by node."""
    graph, rows = model.graph, []
    for target in range(graph.num_nodes):
        own, heads = int(target >= DATA.num_users), []
        edges = (graph.dst == target).nonzero().flatten().tolist()
        for head in range(2):
            part = slice(3 * head, 3 * head + 3)
            query, logits, messages = (state[target] @ layer.query[own])[part], [], []
            for edge in edges:
                s, r = int(graph.src[edge]), int(graph.relation[edge])
                kind = int(s >= DATA.num_users)
                key = (state[s] @ layer.key[kind])[part] @ layer.attention_matrices[head][r]
                logits.append(key @ query * layer.relation_prior[r, head] / math.sqrt(3))
                messages.append((state[s] @ layer.value[kind])[part] @ layer.message_matrices[head][r])
            weights = torch.softmax(torch.stack(logits), 0) if edges else state.new_zeros(0)
            heads.append(weights @ torch.stack(messages) if edges else state.new_zeros(3))
        added = functional.gelu(torch.cat(heads)) @ layer.result[own]
        share = torch.sigmoid(layer.skip[own])
        rows.append(share * added + (1 - share) * state[target])
    return torch.stack(rows)


def test_hops_follow_the_equation() -> None:
    model = hgt(num_layers=2)
    state = total = model.embedding
    for layer in model.layers:
        state = hop_over_edges(layer, model, state)
        total = total + state
    torch.testing.assert_close(model.propagate(), state)
    torch.testing.assert_close(hgt(num_layers=2, readout="sum").propagate(), total)


def test_a_hop_equals_dgls_layer_but_for_the_gelu(monkeypatch: pytest.MonkeyPatch) -> None:
    model = hgt(num_layers=1)
    graph, layer = model.graph, model.layers[0]
    theirs = dgl.nn.HGTConv(6, 3, 2, 2, graph.num_relations, dropout=0.0).double().eval()
    with torch.no_grad():
        for name, ours in (("k", layer.key), ("q", layer.query), ("v", layer.value), ("a", layer.result)):
            getattr(theirs, f"linear_{name}").W.copy_(ours)
        theirs.skip.copy_(layer.skip)
        for head in range(2):
            theirs.relation_att[head].W.copy_(layer.attention_matrices[head])
            theirs.relation_msg[head].W.copy_(layer.message_matrices[head])
            theirs.relation_pri[head].copy_(layer.relation_prior[:, head])
    whole = dgl.graph((graph.src, graph.dst), num_nodes=graph.num_nodes)
    expected = theirs(whole, model.embedding, model.node_types, graph.relation, presorted=True)
    monkeypatch.setattr(functional, "gelu", lambda values: values)
    torch.testing.assert_close(model.propagate(), expected)


def test_attention_of_a_receiver_and_head_sums_to_one() -> None:
    model = hgt()
    weights = model.layers[0].attention(model.graph, model.embedding).detach()
    sums = torch.zeros(model.graph.num_nodes, 2, 1, dtype=torch.float64)
    sums.index_add_(0, model.graph.dst, weights)
    receivers = model.graph.dst.unique()
    torch.testing.assert_close(sums[receivers], torch.ones_like(sums[receivers]))
