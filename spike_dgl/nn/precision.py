"""What stays in full precision where a training step runs in a lower one."""

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
    """Decorator: also under `torch.autocast`, compute in float32, or in double precision where arguments have it.

    For losses, whose terms cancel, and for the sums along edges, which add up thousands of numbers. It also keeps
    autograd functions of our own free of the matter: they see one precision, forward and backward.
    """

    @wraps(function)
    def compute(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        device = next(argument.device for argument in arguments if isinstance(argument, Tensor))
        with torch.autocast(device.type, enabled=False):
            return function(*map(_raised, arguments), **options)

    return compute


def _raised(argument: Any) -> Any:
    return argument.float() if isinstance(argument, Tensor) and argument.dtype in LOW else argument
