"""Popularity of items, in which recent interactions have more weight."""

from __future__ import annotations

import numpy as np

from spike_dgl.data.dataset import Interactions
from spike_dgl.typing import FloatArray

HALF_LIFE = 0.25
"""Share of all interactions that may follow one until it counts half; chosen on inner splits."""


def recent_popularity(train: Interactions, num_items: int) -> FloatArray:
    """Return the number of users [I] of each item; if there are times, recent interactions count more.

    The weight of an interaction is 2^(-n / (h X)), where n of the X interactions are later and h is `HALF_LIFE`.

    Parameters
    ----------
    train
        Interactions [X].
    num_items
        I.
    """
    if train.times is None or not len(train):
        return np.bincount(train.items, minlength=num_items).astype(np.float32)
    later = len(train) - np.searchsorted(np.sort(train.times), train.times, side="right")
    weights = np.exp2(-later / (HALF_LIFE * len(train)))
    return np.bincount(train.items, weights, minlength=num_items).astype(np.float32)
