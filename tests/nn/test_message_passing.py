"""Products and sums along edges, against loops."""

from __future__ import annotations

import torch
from torch import Tensor

from spike_dgl.dgl_import import dgl
from spike_dgl.nn.message_passing import inner_products, typed_matrices, typed_product, weighted_sum


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


def test_sums_are_in_full_precision_under_autocast() -> None:
    graph = dgl.graph((torch.tensor([0]), torch.tensor([1])))
    rows = torch.ones(2, 2, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert weighted_sum(graph, rows, torch.ones(1, 1)).dtype == torch.float32
