"""What is done to every row between hops, compiled for the CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from spike_dgl.nn.compiled.compilation import Array, arrays, compiled, equal_parts, run
from spike_dgl.nn.compiled.random_bits import LEVELS, draw, draw_in_row, random_seed

EPSILON = 1e-12
"""Norm below which a row counts as zero."""


def relu(values: Tensor, dropout: float, kept: Tensor) -> None:
    """Write what is above zero and not dropped, scaled up, into `kept`."""
    parts, seed = equal_parts(*values.shape), random_seed() if dropout else 0
    run(_relu, parts, *arrays(values), seed, round(dropout * LEVELS), 1.0 / (1.0 - dropout), *arrays(kept))


def relu_gradient(grad: Tensor, kept: Tensor, dropout: float) -> Tensor:
    """Gradient of `relu`, which passes on what it kept."""
    below = torch.empty_like(kept)
    run(_relu_gradient, equal_parts(*kept.shape), *arrays(grad, kept), 1.0 / (1.0 - dropout), *arrays(below))
    return below


def normalise(values: Tensor, dropout: float, unit: Tensor, factor: Tensor) -> None:
    """Write rows of length one into `unit`, and into `factor` [n] what its numbers were multiplied by."""
    parts, seed = equal_parts(*values.shape), random_seed() if dropout else 0
    run(_normalise, parts, *arrays(values), seed, round(dropout * LEVELS), *arrays(unit, factor))


def normalise_gradient(grad: Tensor, unit: Tensor, factor: Tensor, *, dropped: bool) -> Tensor:
    """Gradient of `normalise`; where something was dropped, a zero of `unit` passes nothing on."""
    below = torch.empty_like(unit)
    run(_normalise_gradient, equal_parts(*unit.shape), *arrays(grad, unit, factor), dropped, *arrays(below))
    return below


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
        squares = nothing
        for d in range(len(row)):
            squares += out[d] * out[d]
        # A scale common to a row is lost in its norm: dropout needs none here.
        by = values.dtype.type(1) / max(np.sqrt(squares), values.dtype.type(EPSILON))
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
