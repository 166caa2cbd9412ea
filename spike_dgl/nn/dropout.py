"""Dropout that draws 16 random bits a number."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 1 << 16


def dropout(values: Tensor, share: float, *, training: bool) -> Tensor:
    """Set a random share of the values to zero and scale the others up, as `torch.nn.functional.dropout` does.

    On the CPU torch draws a random double for every value, which takes longer than the arithmetic around it. Here four
    values share one draw of 64 bits, so the share is exact to 1 / 65,536.

    Parameters
    ----------
    values
        Of any shape.
    share
        Probability of zero, in [0, 1).
    training
        Nothing is dropped where this is false.
    """
    if not training or share == 0.0:
        return values
    if values.device.type != "cpu":
        return functional.dropout(values, share)
    draws = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    dropped = round(share * LEVELS)
    kept = draws.view(torch.int16)[: values.numel()].view(values.shape) >= dropped - LEVELS // 2
    return values * kept.to(values.dtype).mul_(1.0 / (1.0 - dropped / LEVELS))


class Dropout(nn.Module):
    """`dropout` as a layer."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """Same shape as `values`."""
        return dropout(values, self.share, training=self.training)
