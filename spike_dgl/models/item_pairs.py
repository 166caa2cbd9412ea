"""Bound on dense matrices of item pairs, [I, I]."""

from __future__ import annotations

from spike_dgl.errors import ConfigError

MOST_MEMORY = 20e9
"""Most bytes for such matrices: 40,000 items in float32 while EASE inverts one, and 22,000 in the linear term."""


def check_item_pairs(setting: str, num_items: int, bytes_per_pair: int, remedy: str) -> None:
    """Raise `ConfigError` if dense matrices of item pairs need too much memory.

    Parameters
    ----------
    setting
        Setting that needs the matrices.
    num_items
        I.
    bytes_per_pair
        Bytes of all the matrices that are in memory at the same time, per pair of items.
    remedy
        Last line of the message.
    """
    needed = bytes_per_pair * num_items**2
    if needed > MOST_MEMORY:
        raise ConfigError(
            f"{setting} inverts a dense matrix of item pairs, which takes {needed / 1e9:,.0f} GB of memory for "
            f"{num_items:,} items; the maximum is {MOST_MEMORY / 1e9:.0f} GB\n  {remedy}"
        )
