"""Edge dropout keeps the promised share of each relation, and drops an interaction for user and item alike."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spike_dgl.graph import build_graph
from spike_dgl.nn.edge_dropout import drop_edges, sample_per_segment
from spike_dgl.nn.message_graph import MessageGraph, message_graph
from tests.toy import dataset, random_dataset


def full_messages(users: bool = True) -> MessageGraph:
    return message_graph(build_graph(random_dataset(2, density=60)), users_among_neighbours=users)


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 20), min_size=1, max_size=6), share=st.floats(0.05, 1.0))
def test_each_segment_keeps_its_share_rounded_up(sizes: list[int], share: float) -> None:
    start = torch.tensor([0, *np.cumsum(sizes)])
    kept = sample_per_segment(start, share)
    assert (kept.diff() > 0).all()
    counts = torch.histc(kept.double(), bins=max(1, int(start[-1])), min=0, max=max(1, int(start[-1])) - 0.5)
    for first, last, size in zip(start[:-1], start[1:], sizes, strict=True):
        assert counts[first:last].sum() == int(np.ceil(torch.tensor(size * share).item()))


def test_samples_differ_and_reach_every_edge() -> None:
    torch.manual_seed(0)
    start = torch.tensor([0, 6, 7, 17])
    seen = [set(sample_per_segment(start, 0.5).tolist()) for _ in range(60)]
    assert set.union(*seen) == set(range(17))
    assert len({frozenset(sample) for sample in seen}) > 50


def test_half_of_each_relation_is_left() -> None:
    full = full_messages()
    thin = drop_edges(full, kg_dropout=0.5, interaction_dropout=0.5)
    assert torch.equal(thin.relation_start.diff(), (full.relation_start.diff() + 1) // 2)
    assert thin.edges.num_edges() == len(thin.edge_relation)
    assert torch.equal(thin.edge_relation.bincount(minlength=7), thin.relation_start.diff())


def test_a_dropped_interaction_is_gone_for_user_and_item() -> None:
    full = full_messages()
    thin = drop_edges(full, kg_dropout=0.5, interaction_dropout=0.3)
    pairs, heads = thin.edges.edges(order="eid")
    from_users = thin.edge_relation == 6
    heard = set(zip(thin.pair_node[pairs[from_users]].tolist(), heads[from_users].tolist(), strict=True))
    items, users = thin.pooling.edges()
    assert heard == set(zip(users.tolist(), items.tolist(), strict=True))
    assert 0 < len(heard) < full.pooling.num_edges()


def test_nothing_dropped_is_the_full_graph() -> None:
    full = full_messages()
    thin = drop_edges(full, kg_dropout=0.0, interaction_dropout=0.0)
    for ours, theirs in zip(thin.edges.edges(order="eid"), full.edges.edges(order="eid"), strict=True):
        assert torch.equal(ours, theirs)
    assert thin.pooling.num_edges() == full.pooling.num_edges()


def test_idle_relations_and_masked_edges_of_the_authors_code() -> None:
    full = full_messages(users=False)
    idle = drop_edges(full, kg_dropout=0.0, interaction_dropout=0.0, idle_relations=1)
    assert idle.relation_start.diff().tolist() == [*full.relation_start.diff().tolist()[:5], 0, 0]
    masked = drop_edges(full, kg_dropout=0.0, interaction_dropout=0.0, masked_edges=7)
    assert masked.edges.num_edges() == full.edges.num_edges() - 7


def test_a_relation_without_edges_does_no_harm() -> None:
    graph = build_graph(dataset([(0, 0)], [(0, 2, 1)], sizes=(1, 1, 2, 3)))
    thin = drop_edges(
        message_graph(graph, users_among_neighbours=True), kg_dropout=0.5, interaction_dropout=0.5
    )
    assert thin.edges.num_edges() == 3
