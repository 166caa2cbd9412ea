"""Fused dropout drops its share independently and keeps the mean; the fused functions equal torch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from spike_dgl.nn.kernels.rows import differences_and_sums, normalise, relu


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_share_scale_and_gradient(share: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    values = torch.full((1001, 101), 3.0, dtype=dtype, requires_grad=True)
    dropped = relu(values, share)
    zeros = (dropped == 0).double().mean().item()
    assert zeros == pytest.approx(share, abs=0.008)  # five standard deviations
    kept = dropped[dropped != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 3.0 / (1.0 - share)))
    dropped.sum().backward()
    torch.testing.assert_close(values.grad, dropped.detach() / 3.0)


def kept(rows: int = 2000, columns: int = 100) -> torch.Tensor:
    return relu(torch.ones(rows, columns), 0.5) > 0


def test_rows_columns_and_repeats_are_independent() -> None:
    torch.manual_seed(0)
    first, second = kept(), kept()
    shifts = [(first[:, :-by], first[:, by:]) for by in (1, 2, 4, 8, 32)]
    shifts += [(first[:-by], first[by:]) for by in (1, 2, 64)]
    for a, b in [(first, second), *shifts]:
        assert (a == b).double().mean().item() == pytest.approx(0.5, abs=0.006)
    # Row and column means have the variance of independent draws.
    for sums, size in ((first.sum(0), 2000), (first.sum(1), 100)):
        assert sums.double().var().item() == pytest.approx(size / 4, rel=0.5)


def test_without_dropout_both_are_plain() -> None:
    values = torch.randn(7, 5, dtype=torch.float64)
    values[3] = 0.0
    assert torch.equal(relu(values), functional.relu(values))
    torch.testing.assert_close(
        normalise(values), functional.normalize(values, dim=-1), rtol=1e-15, atol=1e-15
    )


@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize("function", [relu, normalise])
def test_gradients_match_finite_differences(function, share: float) -> None:
    def seeded(values: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return function(values, share)

    values = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(seeded, (values,))


def test_normalised_rows_keep_the_direction_of_what_was_kept() -> None:
    torch.manual_seed(0)
    values = torch.randn(400, 64, dtype=torch.float64)
    unit = normalise(values, 0.3)
    expected = functional.normalize(torch.where(unit == 0, 0.0, values), dim=-1)
    torch.testing.assert_close(unit, expected)
    assert (unit == 0).double().mean().item() == pytest.approx(0.3, abs=0.02)


def test_differences_and_sums_are_those_of_normalised_rows() -> None:
    one, other = (torch.randn(9, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    with torch.no_grad():
        one[3], other[4] = 0.0, 0.0
    a, b = functional.normalize(one, dim=-1), functional.normalize(other, dim=-1)
    torch.testing.assert_close(differences_and_sums(one, other), torch.cat([a - b, a + b], dim=-1))
    rows = torch.randn(2, 9, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda rows: differences_and_sums(rows[0], rows[1]), (rows,))


def test_transposed_and_empty_values_are_read_right() -> None:
    values = torch.randn(5, 3)
    torch.testing.assert_close(normalise(values.t(), 0.0), functional.normalize(values.t(), dim=-1))
    assert relu(torch.empty(0, 4), 0.5).shape == (0, 4)


def test_it_follows_the_seed_and_not_the_threads() -> None:
    runs = []
    threads = torch.get_num_threads()
    for count in (1, 3):
        torch.set_num_threads(count)
        torch.manual_seed(3)
        runs.append(relu(torch.ones(5000, 200), 0.3))
    torch.set_num_threads(threads)
    assert torch.equal(*runs)
