"""Row-wise functions with fused dropout, compiled for the CPU."""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

from spike_dgl.nn.compiled.compilation import Array, arrays, compiled, equal_parts, run
from spike_dgl.nn.compiled.random_bits import LEVELS, draw, draw_in_row, random_seed

EPSILON = 1e-12
"""Norm below which a row counts as zero."""


def relu(values: Tensor, dropout: float, kept: Tensor) -> None:
    """Write ReLU and dropout of `values` into `kept`."""
    parts, seed = equal_parts(*values.shape), random_seed() if dropout else 0
    run(_relu, parts, *arrays(values), seed, round(dropout * LEVELS), 1.0 / (1.0 - dropout), *arrays(kept))


def relu_gradient(grad: Tensor, kept: Tensor, dropout: float) -> Tensor:
    """Return the gradient of `relu`; it is zero where `kept` is."""
    below = torch.empty_like(kept)
    run(_relu_gradient, equal_parts(*kept.shape), *arrays(grad, kept), 1.0 / (1.0 - dropout), *arrays(below))
    return below


def normalise(values: Tensor, dropout: float, unit: Tensor, factor: Tensor) -> None:
    """Write rows of length one into `unit`, and the factor of each row into `factor` [n]."""
    parts, seed = equal_parts(*values.shape), random_seed() if dropout else 0
    run(_normalise, parts, *arrays(values), seed, round(dropout * LEVELS), *arrays(unit, factor))


def normalise_gradient(grad: Tensor, unit: Tensor, factor: Tensor, *, dropped: bool) -> Tensor:
    """Return the gradient of `normalise`; with dropout it is zero where `unit` is."""
    below = torch.empty_like(unit)
    run(_normalise_gradient, equal_parts(*unit.shape), *arrays(grad, unit, factor), dropped, *arrays(below))
    return below


def differences_and_sums(one: Tensor, other: Tensor, both: Tensor, factors: Tensor) -> None:
    """Write differences and sums of normalised rows into `both` [n, 2 D], and the factors into `factors` [n, 2]."""
    run(_differences_and_sums, equal_parts(*both.shape), *arrays(one, other, both, factors))


def differences_and_sums_gradient(grad: Tensor, both: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of `differences_and_sums` for its two inputs."""
    below_one, below_other = grad.new_empty(2, len(both), both.shape[1] // 2)
    tensors = arrays(grad, both, factors, below_one, below_other)
    run(_differences_and_sums_gradient, equal_parts(*both.shape), *tensors)
    return below_one, below_other


@numba.njit(inline="always")
def _reciprocal_norm(row: Array) -> float:
    number = row.dtype.type
    squares = number(0)
    for d in range(len(row)):
        squares += row[d] * row[d]
    result: float = number(1) / max(np.sqrt(squares), number(EPSILON))
    return result


@compiled
def _relu(first: int, last: int, values: Array, seed: int, dropped: int, scale: float, kept: Array) -> None:
    by, nothing, threshold = values.dtype.type(scale), values.dtype.type(0), np.uint32(dropped)
    for i in range(first, last):
        row, out, row_bits = values[i], kept[i], draw(seed, i)
        for d in range(len(row)):
            value = row[d] if draw_in_row(row_bits, d) >= threshold else nothing
            out[d] = max(value, nothing) * by


@compiled
def _relu_gradient(first: int, last: int, grad: Array, kept: Array, scale: float, below: Array) -> None:
    by, nothing = grad.dtype.type(scale), grad.dtype.type(0)
    for i in range(first, last):
        for d in range(grad.shape[1]):
            below[i, d] = grad[i, d] * by if kept[i, d] > 0 else nothing


@compiled
def _normalise(
    first: int, last: int, values: Array, seed: int, dropped: int, unit: Array, factor: Array
) -> None:
    nothing, threshold = values.dtype.type(0), np.uint32(dropped)
    for i in range(first, last):
        row, out = values[i], unit[i]
        if dropped:
            row_bits = draw(seed, i)
            for d in range(len(row)):
                out[d] = row[d] if draw_in_row(row_bits, d) >= threshold else nothing
        else:
            for d in range(len(row)):
                out[d] = row[d]
        # Dropout's scaling is not needed: normalisation cancels a factor common to the row.
        by = _reciprocal_norm(out)
        factor[i] = by
        for d in range(len(row)):
            out[d] *= by


@compiled
def _normalise_gradient(
    first: int, last: int, grad: Array, unit: Array, factor: Array, dropped: bool, below: Array
) -> None:
    nothing = grad.dtype.type(0)
    for i in range(first, last):
        row, of_row, out, by = unit[i], grad[i], below[i], factor[i]
        along = nothing
        for d in range(len(row)):
            along += of_row[d] * row[d]
        for d in range(len(row)):
            out[d] = (of_row[d] - along * row[d]) * by
        if dropped:
            for d in range(len(row)):
                out[d] = out[d] if row[d] != 0 else nothing


@compiled
def _differences_and_sums(
    first: int, last: int, one: Array, other: Array, both: Array, factors: Array
) -> None:
    dim = one.shape[1]
    for i in range(first, last):
        a, b, difference, total = one[i], other[i], both[i, :dim], both[i, dim:]
        by_a, by_b = _reciprocal_norm(a), _reciprocal_norm(b)
        factors[i, 0], factors[i, 1] = by_a, by_b
        for d in range(dim):
            x, y = a[d] * by_a, b[d] * by_b
            difference[d] = x - y
            total[d] = x + y


@compiled
def _differences_and_sums_gradient(
    first: int, last: int, grad: Array, both: Array, factors: Array, below_one: Array, below_other: Array
) -> None:
    dim, quarter = below_one.shape[1], grad.dtype.type(0.25)
    for i in range(first, last):
        p, q, of_p, of_q = both[i, :dim], both[i, dim:], grad[i, :dim], grad[i, dim:]
        below_a, below_b, by_a, by_b = below_one[i], below_other[i], factors[i, 0], factors[i, 1]
        along_a = along_b = grad.dtype.type(0)
        # The normalised rows are (q + p) / 2 and (q - p) / 2.
        for d in range(dim):
            along_a += (of_q[d] + of_p[d]) * (q[d] + p[d])
            along_b += (of_q[d] - of_p[d]) * (q[d] - p[d])
        along_a, along_b = along_a * quarter, along_b * quarter
        for d in range(dim):
            below_a[d] = (of_q[d] + of_p[d] - along_a * (q[d] + p[d])) * by_a
            below_b[d] = (of_q[d] - of_p[d] - along_b * (q[d] - p[d])) * by_b
