"""Dropout drops its share, independently, and keeps the mean."""

from __future__ import annotations

import pytest
import torch

from spike_dgl.nn.dropout import Dropout, dropout


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_share_scale_and_gradient(share: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    values = torch.full((1001, 101), 3.0, dtype=dtype, requires_grad=True)
    dropped = dropout(values, share, training=True)
    assert (dropped == 0).double().mean().item() == pytest.approx(
        share, abs=0.007
    )  # five standard deviations
    kept = dropped[dropped != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 3.0 / (1.0 - share)), rtol=2e-4, atol=0.0)
    dropped.sum().backward()
    torch.testing.assert_close(values.grad, dropped.detach() / 3.0)


def test_neighbours_and_repeats_are_independent() -> None:
    torch.manual_seed(0)
    first, second = (dropout(torch.ones(200_000), 0.5, training=True) > 0 for _ in range(2))
    for a, b in [(first, second), *((first[i::4], first[i + 1 :: 4][: len(first[i::4])]) for i in range(3))]:
        assert (a == b).double().mean().item() == pytest.approx(0.5, abs=0.015)


def test_nothing_is_dropped_in_evaluation_or_with_share_zero() -> None:
    values = torch.randn(7)
    assert dropout(values, 0.5, training=False) is values
    assert dropout(values, 0.0, training=True) is values
    assert Dropout(0.5).eval()(values) is values


def test_it_follows_the_seed() -> None:
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        runs.append(Dropout(0.3)(torch.ones(33, 5)))
    assert torch.equal(*runs)
