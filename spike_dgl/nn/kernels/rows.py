"""Row-wise functions fused with dropout into one pass on the CPU, where torch needs six."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from spike_dgl.nn.compiled import row_loops as compiled_rows
from spike_dgl.nn.dispatch import is_compiled
from spike_dgl.nn.precision import in_full_precision


@in_full_precision
def relu(values: Tensor, dropout: float = 0.0) -> Tensor:
    """ReLU, then dropout.

    Parameters
    ----------
    values
        Input [n, D].
    dropout
        Dropout probability; pass 0 in evaluation.
    """
    if not is_compiled(values.device):
        return functional.dropout(functional.relu(values), dropout)
    return _Relu.apply(values, dropout)  # type: ignore[no-any-return, no-untyped-call]


@in_full_precision
def normalise(values: Tensor, dropout: float = 0.0) -> Tensor:
    """Dropout, then scale rows [n, D] to length one; a row of zeros stays zero."""
    if not is_compiled(values.device):
        return functional.normalize(functional.dropout(values, dropout), dim=-1)
    return _Normalise.apply(values, dropout)  # type: ignore[no-any-return, no-untyped-call]


@in_full_precision
def differences_and_sums(one: Tensor, other: Tensor) -> Tensor:
    """Return the differences and sums [n, 2 D] of the normalised rows of two tables [n, D]."""
    if not is_compiled(one.device):
        one, other = functional.normalize(one, dim=-1), functional.normalize(other, dim=-1)
        return torch.cat([one - other, one + other], dim=-1)
    return _DifferencesAndSums.apply(one, other)  # type: ignore[no-any-return, no-untyped-call]


class _Relu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, dropout: float) -> Tensor:
        kept = torch.empty_like(values, memory_format=torch.contiguous_format)
        compiled_rows.relu(values, dropout, kept)
        ctx.dropout = dropout
        ctx.save_for_backward(kept)
        return kept

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return compiled_rows.relu_gradient(grad, kept, ctx.dropout), None


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, dropout: float) -> Tensor:
        unit = torch.empty_like(values, memory_format=torch.contiguous_format)
        factor = values.new_empty(len(values))
        compiled_rows.normalise(values, dropout, unit, factor)
        ctx.dropped = dropout > 0.0
        ctx.save_for_backward(unit, factor)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        unit, factor = ctx.saved_tensors
        return compiled_rows.normalise_gradient(grad, unit, factor, dropped=ctx.dropped), None


class _DifferencesAndSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor) -> Tensor:
        both, factors = one.new_empty(len(one), 2 * one.shape[1]), one.new_empty(len(one), 2)
        compiled_rows.differences_and_sums(one, other, both, factors)
        ctx.save_for_backward(both, factors)
        return both

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        both, factors = ctx.saved_tensors
        return compiled_rows.differences_and_sums_gradient(grad, both, factors)
