"""Products and sums along edges, against loops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from spike_dgl.dgl_import import dgl
from spike_dgl.nn.kernels.message_passing import (
    dgl_inner_products,
    dgl_weighted_sum,
    inner_products,
    typed_matrices,
    typed_product,
    weighted_sum,
)


def random(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


def test_every_row_meets_the_matrix_of_its_type() -> None:
    rows, matrices, types = random(5, 3), random(4, 3, 2), torch.tensor([0, 0, 2, 2, 3])
    product = typed_product(rows, types, matrices)
    expected = torch.stack([row @ matrices[kind] for row, kind in zip(rows, types, strict=True)])
    torch.testing.assert_close(product, expected)
    assert torch.autograd.gradcheck(lambda r, m: typed_product(r, types, m), (rows, matrices))


def test_matrices_are_within_glorots_bound() -> None:
    matrices = typed_matrices(7, 4, 2)
    assert matrices.shape == (7, 4, 2)
    assert 0.5 < matrices.abs().max() <= 1.0


def test_edges_multiply_and_sum_as_a_loop_does() -> None:
    source, target = torch.tensor([0, 1, 1, 2]), torch.tensor([1, 1, 0, 1])
    graph = dgl.heterograph({("a", "to", "b"): (source, target)}, {"a": 3, "b": 3})
    left, right, weights = random(3, 2, 4), random(3, 2, 4), random(4, 2, 1)
    products = inner_products(graph, left, right)
    torch.testing.assert_close(products, (left[source] * right[target]).sum(-1, keepdim=True))
    expected = torch.zeros_like(right).index_add(0, target, weights * left[source])
    torch.testing.assert_close(weighted_sum(graph, left, weights), expected)
    assert torch.autograd.gradcheck(lambda x, w: weighted_sum(graph, x, w), (left, weights))
    assert torch.autograd.gradcheck(lambda x, y: inner_products(graph, x, y), (left, right))


@pytest.mark.parametrize("heads", [(), (2,)])
@pytest.mark.parametrize("num_edges", [0, 300])
def test_sums_and_their_gradients_are_dgls_own_bit_for_bit(heads: tuple[int, ...], num_edges: int) -> None:
    generator = torch.Generator().manual_seed(1)
    source, target = (torch.randint(0, size, (num_edges,), generator=generator) for size in (40, 20))
    # Some nodes are without edges, and some pairs have several.
    graph = dgl.heterograph({("a", "to", "b"): (source, target)}, {"a": 45, "b": 22})
    shapes = (45, *heads, 8), (22, *heads, 8), (num_edges, *heads, 1)
    left, right, weights = (torch.randn(shape, generator=generator) for shape in shapes)

    def results(sum_of: Callable[..., Tensor], products_of: Callable[..., Tensor]) -> list[Tensor]:
        inputs = [numbers.clone().requires_grad_() for numbers in (left, right, weights)]
        summed, products = sum_of(graph, inputs[0], inputs[2]), products_of(graph, inputs[0], inputs[1])
        ((summed * right).sum() + (products * weights).sum()).backward()
        return [summed, products, *(numbers.grad for numbers in inputs if numbers.grad is not None)]

    ours, dgls = results(weighted_sum, inner_products), results(dgl_weighted_sum, dgl_inner_products)
    assert len(ours) == len(dgls) == 5
    assert all(map(torch.equal, ours, dgls))


def test_sums_are_in_full_precision_under_autocast() -> None:
    graph = dgl.graph((torch.tensor([0]), torch.tensor([1])))
    rows = torch.ones(2, 2, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert weighted_sum(graph, rows, torch.ones(1, 1)).dtype == torch.float32
