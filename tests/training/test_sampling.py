"""The sampler: every interaction once per epoch, and negatives that are not positives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.data.dataset import Interactions
from spike_dgl.errors import ConfigError, SpikeError
from spike_dgl.training.sampling import BprSampler
from tests.toy import interactions

pair_lists = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=40)


@given(
    pairs=pair_lists,
    batch_size=st.integers(1, 9),
    epoch=st.integers(1, 50),
    exponent=st.sampled_from([-1.0, 0.0, 2.0]),
    seen=st.booleans(),
)
def test_an_epoch_is_every_interaction_once_with_a_true_negative(
    pairs: list[tuple[int, int]], batch_size: int, epoch: int, exponent: float, seen: bool
) -> None:
    train = interactions(pairs)
    drawable = set(train.items.tolist()) if seen else set(range(8))
    full = {user for user in range(6) if (train.users == user).sum() == len(drawable)}
    expected = sorted((u, i) for u, i in set(pairs) if u not in full)
    if not expected:
        return
    sampler = BprSampler(
        train, 6, 8, batch_size=batch_size, seed=3, popularity_exponent=exponent, seen_negatives=seen
    )
    batches = list(sampler.epoch(epoch))
    assert len(batches) == len(sampler)
    assert {len(batch.users) for batch in batches[:-1]} <= {batch_size}
    seen = sorted((int(u), int(i)) for b in batches for u, i in zip(b.users, b.positives, strict=True))
    assert seen == expected
    for batch in batches:
        for user, negative in zip(batch.users.tolist(), batch.negatives.tolist(), strict=True):
            assert negative in drawable
            assert (user, negative) not in set(pairs)


def test_negatives_are_uniform_over_the_rest() -> None:
    sampler = BprSampler(interactions([(0, 0), (0, 3), (0, 4), (1, 9)]), 2, 10, batch_size=4, seed=0)
    drawn = sampler.negatives(torch.zeros(70_000, dtype=torch.int64), torch.Generator().manual_seed(1))
    counts = np.bincount(drawn.numpy(), minlength=10)
    assert (counts[[0, 3, 4]] == 0).all()
    free = counts[[1, 2, 5, 6, 7, 8, 9]]
    assert np.abs(free - 10_000).max() < 500  # five standard deviations


@pytest.mark.parametrize(
    ("exponent", "shares"), [(1.0, [4, 2, 1, 1]), (-1.0, [1, 2, 4, 4]), (0.0, [1, 1, 1, 1])]
)
def test_negatives_follow_the_popularity_of_items(exponent: float, shares: list[int]) -> None:
    """Items 0 to 2 have 4, 2 and 1 users, and item 3, which has none, counts as having one."""
    train = interactions([(user, 0) for user in range(4)] + [(0, 1), (1, 1), (0, 2), (9, 4)])
    sampler = BprSampler(train, 10, 5, batch_size=4, seed=0, popularity_exponent=exponent)
    drawn = sampler.negatives(torch.full((70_000,), 9), torch.Generator().manual_seed(1))
    counts = np.bincount(drawn.numpy(), minlength=5)
    assert counts[4] == 0
    assert counts[:4] / 70_000 == pytest.approx(np.array(shares) / sum(shares), abs=0.01)


def test_a_user_who_has_nearly_everything_gets_the_rest() -> None:
    """Redrawing by popularity always draws positives again, since the popular items are positives."""
    train = interactions([(0, 0), (0, 1)] + [(user, item) for user in range(1, 1000) for item in (0, 1)])
    sampler = BprSampler(train, 1000, 3, batch_size=4, seed=0, popularity_exponent=2.0)
    drawn = sampler.negatives(torch.zeros(500, dtype=torch.int64), torch.Generator().manual_seed(1))
    assert (drawn == 2).all()


def test_epochs_differ_and_repeat() -> None:
    sampler = BprSampler(interactions([(0, i) for i in range(20)]), 1, 40, batch_size=20, seed=0)
    first, again, second = (next(sampler.epoch(number)) for number in (1, 1, 2))
    assert torch.equal(first.negatives, again.negatives)
    assert torch.equal(first.positives, again.positives)
    assert not torch.equal(first.positives, second.positives)


def test_skipping_gives_the_rest_of_the_same_epoch() -> None:
    sampler = BprSampler(interactions([(0, i) for i in range(20)]), 1, 40, batch_size=6, seed=0)
    whole, rest = list(sampler.epoch(4)), list(sampler.epoch(4, skip=2))
    assert len(rest) == 2
    for ours, theirs in zip(whole[2:], rest, strict=True):
        assert torch.equal(ours.users, theirs.users)
        assert torch.equal(ours.negatives, theirs.negatives)


def late(recency: float, times: list[int] | None = None, users: int = 1) -> BprSampler:
    """Create users with the items 0 to 3, by default in this order, among five."""
    pairs = interactions([(user, item) for user in range(users) for item in range(4)])
    train = Interactions(pairs.users, pairs.items, np.array((times or [0, 1, 2, 3]) * users, np.float64))
    return BprSampler(train, users, 5, batch_size=8, seed=0, recency=recency)


def test_late_interactions_are_drawn_in_proportion_to_a_power_of_their_place() -> None:
    """The integral of x^2 over the four quarters, times 64 / 3: 1, 7, 19 and 37 parts of 64."""
    sampler = late(2.0, times=[5, 2, 9, 4], users=3)
    drawn = torch.cat([batch.positives for epoch in range(2000) for batch in sampler.epoch(epoch)])
    shares = np.bincount(drawn.numpy(), minlength=4) / len(drawn)
    assert len(drawn) == 2000 * 12
    assert shares == pytest.approx(np.array([37 - 18, 1, 37, 7]) / 64, abs=0.01)


def test_every_user_gives_as_many_draws_as_interactions_and_a_true_negative_each() -> None:
    train = Interactions(np.array([0, 0, 1, 2, 2, 2]), np.array([1, 3, 2, 0, 1, 2]), np.arange(6.0)[::-1])
    sampler = BprSampler(train, 3, 4, batch_size=4, seed=1, recency=4.0)
    known = set(zip(train.users.tolist(), train.items.tolist(), strict=True))
    for batch in [batch for epoch in range(20) for batch in sampler.epoch(epoch)]:
        assert set(zip(batch.users.tolist(), batch.positives.tolist(), strict=True)) <= known
        assert not set(zip(batch.users.tolist(), batch.negatives.tolist(), strict=True)) & known
    counts = torch.cat([batch.users for batch in sampler.epoch(1)]).bincount().tolist()
    assert counts == [2, 1, 3]


def test_late_draws_repeat_and_differ_between_epochs() -> None:
    first, again, second = (next(late(1.0, users=9).epoch(number)).positives for number in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_recency_needs_times() -> None:
    with pytest.raises(ConfigError, match=r"training\.recency is 2.*does not say when"):
        BprSampler(interactions([(0, 0)]), 1, 2, batch_size=8, seed=0, recency=2.0)


def test_users_who_like_everything_are_left_out_and_counted() -> None:
    sampler = BprSampler(interactions([(0, 0), (0, 1), (1, 0)]), 2, 2, batch_size=8, seed=0)
    assert sampler.num_left_out == 2
    (batch,) = sampler.epoch(1)
    assert (batch.users.tolist(), batch.negatives.tolist()) == ([1], [1])


@pytest.mark.parametrize("train", [Interactions.empty(), interactions([(0, 0)])])
def test_nothing_to_train_on_is_an_error(train: Interactions) -> None:
    with pytest.raises(SpikeError, match="nothing to train on"):
        BprSampler(train, 1, 1, batch_size=8, seed=0)
