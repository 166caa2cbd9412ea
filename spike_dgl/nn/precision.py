"""Full precision for functions that need it when a training step runs in lower precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
LOW = (torch.bfloat16, torch.float16)


def in_full_precision(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Disable `torch.autocast` in a function: compute in float32, or in float64 if the arguments are; use as decorator.

    For losses, whose terms cancel, and for sums along edges, which have thousands of terms. It also gives our own
    autograd functions one precision in the forward and the backward pass.
    """

    @wraps(function)
    def compute(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        device = next(argument.device for argument in arguments if isinstance(argument, Tensor))
        with torch.autocast(device.type, enabled=False):
            return function(*map(_raised, arguments), **options)

    return compute


def _raised(argument: Any) -> Any:
    return argument.float() if isinstance(argument, Tensor) and argument.dtype in LOW else argument
