"""Edge dropout keeps the given share of each relation, and drops an interaction in both directions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.graph import build_graph
from spike_dgl.nn.compiled.group_samples import sample_groups
from spike_dgl.nn.graphs.edge_dropout import EdgeDropout, GroupSample, sample_by_sorting
from spike_dgl.nn.graphs.messages import MessageGraph, message_graph
from tests.toy import dataset, random_dataset


def full_messages(users: bool = True) -> MessageGraph:
    return message_graph(build_graph(random_dataset(2, density=60)), users_among_neighbours=users)


SAMPLERS = [sample_groups, sample_by_sorting]


@pytest.mark.parametrize("sample", SAMPLERS)
@given(group=st.lists(st.integers(0, 4), max_size=60), share=st.floats(0.0, 1.0))
def test_each_group_gives_what_is_wanted(sample, group: list[int], share: float) -> None:
    members = torch.tensor(group, dtype=torch.int64)
    sizes = members.bincount(minlength=5)
    wanted = (sizes * share).ceil().long()
    taken = sample(members, sizes, wanted, int(wanted.sum()))
    assert (taken.diff() > 0).all()
    assert torch.equal(members[taken].bincount(minlength=5), wanted)


@pytest.mark.parametrize("sample", SAMPLERS)
def test_every_member_is_as_likely_as_another_of_its_group(sample) -> None:
    torch.manual_seed(0)
    members = torch.tensor([0, 1, 0, 2, 1, 0, 0, 1, 1, 1, 0])
    sizes, wanted = torch.tensor([5, 5, 1]), torch.tensor([2, 4, 0])
    drawn = torch.cat([sample(members, sizes, wanted, 6) for _ in range(4000)])
    times = drawn.bincount(minlength=len(members)) / 4000
    expected = (wanted / sizes)[members]
    torch.testing.assert_close(times, expected, rtol=0.0, atol=0.035)  # over four standard deviations


def test_a_share_is_rounded_up() -> None:
    sample = GroupSample(torch.tensor([0, 0, 0, 1, 2]), torch.tensor([0.5, 0.5, 0.0]))
    assert len(sample.draw()) == 3
    assert (sample.draw().diff() > 0).all()


def counts(messages: MessageGraph) -> list[int]:
    """Return the number of edges of each relation row."""
    return messages.relation.bincount(minlength=7).tolist()


def test_half_of_each_relation_is_left() -> None:
    full = full_messages()
    thin = EdgeDropout(full, kg_dropout=0.5, interaction_dropout=0.5).draw()
    assert counts(thin) == [(count + 1) // 2 for count in counts(full)]


def test_a_dropped_interaction_is_gone_for_user_and_item() -> None:
    full = full_messages()
    thin = EdgeDropout(full, kg_dropout=0.5, interaction_dropout=0.3).draw()
    from_users = thin.relation == 6
    users, items = thin.src[from_users].tolist(), (thin.attended.dst[from_users] + thin.num_users).tolist()
    pooled = zip(thin.pooled.dst.tolist(), thin.pooled.src.tolist(), strict=True)
    assert set(zip(users, items, strict=True)) == set(pooled)
    assert 0 < len(users) < len(full.pooled)


def test_kept_edges_are_edges_of_the_full_graph_in_both_orders() -> None:
    full = full_messages()
    thin = EdgeDropout(full, kg_dropout=0.4, interaction_dropout=0.4).draw()
    for ours, theirs in ((thin.attended, full.attended), (thin.pooled, full.pooled)):
        pairs = list(zip(ours.dst.tolist(), ours.src.tolist(), strict=True))
        assert set(pairs) <= set(zip(theirs.dst.tolist(), theirs.src.tolist(), strict=True))
        assert (ours.dst.diff() >= 0).all()
        assert torch.equal(ours.csr_order, ours.src.argsort(stable=True))
        assert torch.equal(ours.csr_start.diff(), ours.src.bincount(minlength=ours.num_src))
        assert torch.equal(ours.csc_start.diff(), ours.dst.bincount(minlength=ours.num_dst))


def test_nothing_dropped_is_the_full_graph() -> None:
    full = full_messages()
    thin = EdgeDropout(full, kg_dropout=0.0, interaction_dropout=0.0).draw()
    for ours, theirs in ((thin.attended, full.attended), (thin.pooled, full.pooled)):
        for name in ("src", "dst", "csr_order"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name))


def test_idle_relations_and_masked_edges_of_the_authors_code() -> None:
    full = full_messages(users=False)
    idle = EdgeDropout(full, kg_dropout=0.0, interaction_dropout=0.0, idle_relations=1).draw()
    assert counts(idle) == [*counts(full)[:5], 0, 0]
    masked = EdgeDropout(full, kg_dropout=0.0, interaction_dropout=0.0, masked_edges=7).draw()
    assert len(masked.attended) == len(full.attended) - 7


def test_relations_without_edges_do_no_harm() -> None:
    graph = build_graph(dataset([(0, 0)], [(0, 2, 1)], sizes=(1, 1, 2, 3)))
    full = message_graph(graph, users_among_neighbours=True)
    assert len(EdgeDropout(full, kg_dropout=0.5, interaction_dropout=0.5).draw().attended) == 3
    empty = message_graph(build_graph(dataset([], [], sizes=(1, 1, 2, 3))), users_among_neighbours=True)
    assert len(EdgeDropout(empty, kg_dropout=0.5, interaction_dropout=0.5).draw().attended) == 0
