"""Popularity in which recent interactions count more."""

from __future__ import annotations

import numpy as np
import pytest

from spike_dgl.data import popularity
from spike_dgl.data.dataset import Interactions
from spike_dgl.data.popularity import recent_popularity
from tests.toy import interactions


def test_without_times_it_is_the_number_of_users() -> None:
    train = interactions([(0, 0), (1, 0), (1, 2)])
    assert recent_popularity(train, 4).tolist() == [2, 0, 1, 0]
    assert recent_popularity(Interactions.empty(), 2).tolist() == [0, 0]


def test_an_interaction_counts_half_after_a_half_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popularity, "HALF_LIFE", 0.5)  # two of four interactions
    train = interactions([(0, 0), (0, 1), (1, 0), (1, 2)])
    timed = Interactions(train.users, train.items, np.array([10.0, 20.0, 20.0, 35.0]))
    # One interaction is later than both of time 20, and three are later than the first.
    assert recent_popularity(timed, 3) == pytest.approx([2**-0.5 + 2**-1.5, 2**-0.5, 1])
    later = Interactions(train.users, train.items, np.array([1.0, 2.0, 2.0, 3.0]))
    assert recent_popularity(later, 3) == pytest.approx(recent_popularity(timed, 3))
