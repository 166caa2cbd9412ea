"""Vectors in compiled loops against NumPy."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from spike_dgl.nn.compiled.lanes import filled, larger, load, repeated, store, sums


def compute(width: int, parts: int, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    @numba.njit
    def loop(a, b, total, per_part, spread, highest):
        product = filled(a.dtype.type(1), width)
        for row in range(len(a)):
            x, y = load(a, row, width), load(b, row, width)
            product = product * (x + y - x / y)
            store(per_part, row, sums(x * y, parts))
            store(spread, row, repeated(load(per_part, row, parts), width))
            store(highest, row, larger(x, y))
        product += product
        store(total, 0, product)

    total, per_part = np.zeros((1, width), a.dtype), np.zeros((len(a), parts), a.dtype)
    spread, highest = np.zeros_like(a), np.zeros_like(a)
    loop(a, b, total, per_part, spread, highest)
    return total, per_part, spread, highest


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("width", "parts"), [(1, 1), (6, 2), (15, 3), (64, 2)])
def test_arithmetic_on_rows(width: int, parts: int, dtype: type) -> None:
    rng = np.random.default_rng(0)
    # Every second row of a larger array: rows are a stride apart.
    a, b = (rng.uniform(1.0, 2.0, (8, width)).astype(dtype)[::2] for _ in range(2))
    total, per_part, spread, highest = compute(width, parts, a, b)
    np.testing.assert_allclose(total[0], 2 * (a + b - a / b).prod(0), rtol=1e-5)
    np.testing.assert_allclose(per_part, (a * b).reshape(len(a), parts, -1).sum(-1), rtol=1e-5)
    np.testing.assert_array_equal(spread, per_part.repeat(width // parts, axis=1))
    np.testing.assert_array_equal(highest, np.maximum(a, b))
