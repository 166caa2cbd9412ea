"""Neighbour sampling: sampled edges, their frequencies, and the whole graph with unlimited fan-outs."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from spike_dgl.data.dataset import Dataset
from spike_dgl.graph import build_graph
from spike_dgl.nn.graphs.messages import MessageGraph, message_graph
from spike_dgl.nn.graphs.neighbour_sampling import ALL, Block, NeighbourSampler
from tests.toy import dataset, random_dataset

Edge = tuple[int, int, int]
POOLED = -1


def whole(data: Dataset, *, users: bool = True) -> MessageGraph:
    return message_graph(build_graph(data), users_among_neighbours=users)


def edges(messages: MessageGraph, nodes: torch.Tensor | None = None) -> list[Edge]:
    """Return src, relation (or POOLED) and dst of every edge, as rows of the whole graph."""
    users, averaged = messages.num_users, messages.pooled
    if nodes is None:
        nodes = torch.arange(messages.num_nodes)
    attended = (nodes[messages.src], messages.relation, nodes[messages.attended.dst + users])
    pooled = (nodes[averaged.src], torch.full_like(averaged.src, POOLED), nodes[averaged.dst])
    return [
        edge for kind in (attended, pooled) for edge in zip(*(part.tolist() for part in kind), strict=True)
    ]


def edges_of(block: Block) -> list[Edge]:
    return edges(block.messages, block.nodes)


def test_a_chain_is_followed_hop_by_hop_against_the_triples() -> None:
    # User 0 (row 0) likes item 0 (row 1), which has the triple (0, r0, 1), and entity 1 the triple (1, r0, 2).
    messages = whole(dataset([(0, 0)], [(0, 0, 1), (1, 0, 2)], sizes=(1, 1, 3, 1)))
    flow = NeighbourSampler(messages, [ALL, ALL, ALL]).draw(torch.tensor([0]))
    third, second, first = (sorted(edges_of(block)) for block in flow.blocks)
    of_user = [(1, POOLED, 0)]
    of_item = [(0, 2, 1), (2, 0, 1)]  # from its user by the relation of interactions, from entity 1 by r0
    of_entity = [(1, 1, 2), (3, 0, 2)]  # from item 0 by r0's inverse, from entity 2 by r0
    assert first == of_user
    assert second == sorted(of_user + of_item)
    assert third == sorted(of_user + of_item + of_entity)
    assert [block.nodes.tolist() for block in flow.blocks] == [[0, 1, 2, 3], [0, 1, 2], [0, 1]]
    assert [block.nodes[block.dst].tolist() for block in flow.blocks] == [[0, 1, 2], [0, 1], [0]]


def test_a_fan_out_of_one_draws_one_of_the_neighbours_and_every_one_in_turn() -> None:
    messages = whole(dataset([], [(0, 0, tail) for tail in range(1, 5)], sizes=(1, 1, 5, 1)))
    sampler = NeighbourSampler(messages, [1])
    torch.manual_seed(0)
    drawn = Counter(edge for _ in range(400) for edge in edges_of(sampler.draw(torch.tensor([1])).blocks[0]))
    assert drawn.keys() == {(tail, 0, 1) for tail in range(2, 6)}
    assert drawn.total() == 400
    assert min(drawn.values()) > 65  # 100 are expected, and four standard deviations are 35


@pytest.mark.parametrize("fanout", [1, 3, 100])
def test_no_node_receives_more_than_the_fan_out_and_none_twice_the_same(fanout: int) -> None:
    data = random_dataset(2, density=80)
    messages = whole(data)
    degrees = Counter(dst for _, _, dst in edges(messages))
    seeds = torch.tensor([3, 0, 12, 3, 20])
    flow = NeighbourSampler(messages, [fanout, fanout]).draw(seeds)
    assert flow.seeds.tolist() == [0, 3, 12, 20]
    assert flow.positions(seeds).tolist() == [1, 0, 2, 1, 3]
    assert torch.equal(flow.input_nodes[flow.seeds_among_inputs], flow.seeds)
    for block in flow.blocks:
        drawn = edges_of(block)
        assert len(set(drawn)) == len(drawn)
        assert set(drawn) <= set(edges(messages))
        expected = {row: min(fanout, degrees[row]) for row in block.nodes[block.dst].tolist()}
        assert Counter(dst for _, _, dst in drawn) == Counter(expected)


def test_what_one_hop_receives_the_next_one_sends() -> None:
    flow = NeighbourSampler(whole(random_dataset(1, density=60)), [2, 2, 2]).draw(torch.tensor([0, 9]))
    for earlier, later in zip(flow.blocks, flow.blocks[1:], strict=False):
        assert torch.equal(earlier.nodes[earlier.dst], later.nodes)
    assert torch.equal(flow.blocks[-1].nodes[flow.blocks[-1].dst], flow.seeds)


@pytest.mark.parametrize("users", [False, True])
def test_every_neighbour_of_every_node_is_the_whole_graph(users: bool) -> None:
    data = random_dataset(3)
    messages = whole(data, users=users)
    block = NeighbourSampler(messages, [ALL]).draw(torch.arange(22)).blocks[0]
    assert sorted(edges_of(block)) == sorted(edges(messages))
    for ours, theirs in (
        (block.messages.attended, messages.attended),
        (block.messages.pooled, messages.pooled),
    ):
        assert (ours.num_src, ours.num_dst) == (theirs.num_src, theirs.num_dst)
        assert torch.equal(ours.dst, theirs.dst)
    assert torch.equal(block.messages.relation, messages.relation)  # by head, then by relation


def test_the_last_fan_out_is_that_of_the_seeds() -> None:
    messages = whole(dataset([], [(0, 0, tail) for tail in range(1, 5)], sizes=(1, 1, 5, 1)))
    for fanouts, drawn in (([1, ALL], 4), ([ALL, 1], 1)):
        flow = NeighbourSampler(messages, fanouts).draw(torch.tensor([1]))
        assert len(edges_of(flow.blocks[1])) == drawn
        assert Counter(dst for _, _, dst in edges_of(flow.blocks[0]))[1] == 5 - drawn


def test_relations_keep_their_shares_in_a_sample() -> None:
    triples = [(0, 0, tail) for tail in range(1, 91)] + [(0, 1, tail) for tail in range(91, 101)]
    sampler = NeighbourSampler(whole(dataset([], triples, sizes=(1, 1, 101, 2))), [10])
    torch.manual_seed(0)
    drawn = [
        relation for _ in range(200) for _, relation, _ in edges_of(sampler.draw(torch.tensor([1])).blocks[0])
    ]
    assert len(drawn) == 2000
    assert Counter(drawn)[1] == pytest.approx(200, abs=54)  # four standard deviations


def test_edge_dropout_leaves_out_its_share_of_each_kind() -> None:
    messages = whole(random_dataset(4, sizes=(40, 50, 90, 3), density=1500))
    sampler = NeighbourSampler(messages, [ALL], kg_dropout=0.3, interaction_dropout=0.8)
    torch.manual_seed(1)
    drawn = [edges_of(sampler.draw(torch.arange(130)).blocks[0]) for _ in range(10)]
    for pick, share in (
        (lambda edge: edge[1] < 6 and edge[1] != POOLED, 0.7),
        (lambda edge: edge[1] == POOLED, 0.2),
    ):
        every = sum(map(pick, edges(messages)))
        kept = [sum(map(pick, sample)) for sample in drawn]
        assert sum(kept) / 10 / every == pytest.approx(share, abs=0.02)
        assert len(set(kept)) > 1


def test_a_dropped_edge_is_gone_in_all_hops_and_an_interaction_for_both_its_ends() -> None:
    messages = whole(random_dataset(4, sizes=(20, 25, 40, 3), density=300))
    sampler = NeighbourSampler(messages, [ALL, ALL], kg_dropout=0.5, interaction_dropout=0.5)
    earlier, later = (set(edges_of(block)) for block in sampler.draw(torch.arange(60)).blocks)
    assert earlier == later
    pooled = {(src, dst) for src, relation, dst in earlier if relation == POOLED}
    sent_back = {(dst, src) for src, relation, dst in earlier if relation == 6}
    assert pooled == sent_back
    assert 0 < len(pooled) < len(messages.pooled)


def test_the_same_state_of_torchs_generator_draws_the_same() -> None:
    messages = whole(random_dataset(5, sizes=(40, 50, 90, 3), density=900))
    sampler = NeighbourSampler(messages, [2, 2], kg_dropout=0.2)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    flows = [sampler.draw(torch.arange(30)) for _ in range(2)]
    torch.set_rng_state(state)
    again = sampler.draw(torch.arange(30))
    first, second, repeated = ([edges_of(block) for block in flow.blocks] for flow in (*flows, again))
    assert first == repeated
    assert first != second


@pytest.mark.parametrize("rows", [1, 13, 10_000])
def test_parts_hold_every_edge_once_and_their_receivers_in_order(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spike_dgl.nn.graphs.neighbour_sampling.ROWS_PER_PART", rows)
    messages = whole(random_dataset(6))
    parts = list(NeighbourSampler(messages, [1], kg_dropout=0.9).parts())
    assert torch.cat([part.nodes[part.dst] for part in parts]).tolist() == list(range(22))
    assert sorted(edge for part in parts for edge in edges_of(part)) == sorted(edges(messages))
    assert (len(parts) == 1) == (rows == 10_000)
    heaviest = max(Counter(dst for _, _, dst in edges(messages)).values()) + 1
    assert all(len(edges_of(part)) + len(part.dst) <= rows + heaviest for part in parts)


def test_seeds_without_neighbours_are_alone() -> None:
    messages = whole(dataset([], [], sizes=(2, 1, 2, 1)))
    sampler = NeighbourSampler(messages, [5, 5], kg_dropout=0.5, interaction_dropout=0.5)
    flow = sampler.draw(torch.tensor([1]))
    assert [block.nodes.tolist() for block in flow.blocks] == [[1], [1]]
    assert not any(edges_of(block) for block in flow.blocks)
