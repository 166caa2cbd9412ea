"""The same random numbers on all devices, to compare a model's step on one device with that on another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

CREATED = (torch.rand, torch.randn, torch.randint, torch.randperm)
FILLED = (Tensor.random_, Tensor.exponential_)


class DrawnOnCpu(TorchFunctionMode):
    """Mode in which torch draws random numbers on the CPU and moves them to the device.

    The n-th draw is seeded by `seed` plus n, however many numbers the draws before it took. Dropout is not covered,
    since compiled code draws its own bits; see `options_without_dropout`.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        options = dict(options or {})
        if function in (*CREATED, *FILLED):
            torch.manual_seed(self.seed)
            self.seed += 1
        if function in CREATED:
            device = options.pop("device", None)
            return function(*arguments, **options, device="cpu").to(device)
        if function in FILLED:
            drawn = torch.empty(arguments[0].shape, dtype=arguments[0].dtype, device="cpu")
            return arguments[0].copy_(function(drawn, *arguments[1:], **options))
        return function(*arguments, **options)


def options_without_dropout(options: type) -> dict[str, float]:
    """Return the options of a model that are dropout probabilities, all zero."""
    return {option.name: 0.0 for option in fields(options) if "dropout" in option.name}
