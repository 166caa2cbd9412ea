"""Histories cut at a random time: interactions that send messages, and interactions after the cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.data.dataset import Interactions
from spike_dgl.errors import ConfigError
from spike_dgl.graph import build_graph
from spike_dgl.nn.graphs.history import InteractionHistory
from spike_dgl.nn.graphs.messages import message_graph
from tests.toy import dataset, random_dataset

CPU = torch.device("cpu")


def history(newest: int, largest_cut: float = 0.5) -> InteractionHistory:
    """User 0 interacted with the items 2, 0, 3, 1 in this order, user 1 none, user 2 the items 1, 0."""
    data = dataset([(0, 0), (0, 1), (0, 2), (0, 3), (2, 0), (2, 1)], [], sizes=(3, 4, 4, 1))
    times = np.array([2, 4, 1, 3, 8, 7], np.float64)
    data = data.replace(train=Interactions(data.train.users, data.train.items, times))
    return InteractionHistory(build_graph(data), newest, largest_cut, CPU)


def test_the_newest_of_those_before_the_cut_pass() -> None:
    part = history(newest=2)
    assert part.count.tolist() == [4, 0, 2]
    # Positions: 0 to 3 are the items of user 0, then 4 and 5.
    assert part.passing(part.count).tolist() == [1, 3, 4, 5]
    assert part.passing(torch.tensor([3, 0, 1])).tolist() == [0, 3, 5]
    assert part.passing(torch.tensor([0, 0, 0])).tolist() == []


def test_what_came_after_the_cut() -> None:
    users, items = torch.tensor([0, 0, 0, 0, 2, 2]), torch.tensor([3, 2, 1, 0, 1, 0])
    after = history(newest=2).came_after(users, items, torch.tensor([2, 0, 1]))
    assert after.tolist() == [True, False, True, False, False, True]


def test_moments_are_uniform_up_to_the_largest_cut() -> None:
    torch.manual_seed(0)
    part = history(newest=2)
    left_out = torch.stack([part.count - part.cut() for _ in range(6000)])
    shares = [left_out[:, user].bincount(minlength=3) / 6000 for user in range(3)]
    torch.testing.assert_close(shares[0], torch.full((3,), 1 / 3), atol=0.03, rtol=0)
    torch.testing.assert_close(shares[2], torch.tensor([0.5, 0.5, 0.0]), atol=0.03, rtol=0)
    assert shares[1].tolist() == [1.0, 0.0, 0.0]


@given(newest=st.integers(1, 9), largest_cut=st.floats(0.0, 0.99), seed=st.integers(0, 1000))
def test_nothing_both_passes_and_is_to_come(newest: int, largest_cut: float, seed: int) -> None:
    torch.manual_seed(seed)
    data = random_dataset(seed, density=60)
    times = torch.rand(len(data.train)).double().numpy()
    data = data.replace(train=Interactions(data.train.users, data.train.items, times))
    graph = build_graph(data)
    part = InteractionHistory(graph, newest, largest_cut, CPU)
    before = part.cut()
    assert ((before >= 0) & (before <= part.count)).all()
    pooled = message_graph(graph, users_among_neighbours=True).pooled
    passing = part.passing(before)
    users, items = pooled.dst[passing], pooled.src[passing] - data.num_users
    assert not part.came_after(users, items, before).any()
    assert torch.equal(users.bincount(minlength=data.num_users), before.clamp(max=newest))


def test_without_times_it_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"newest_interactions is 3.*does not say when"):
        InteractionHistory(build_graph(random_dataset(1)), 3, 0.5, CPU)
