"""Products and sums along edges, against loops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from spike_dgl.nn import dispatch
from spike_dgl.nn.graphs.edge_list import EdgeList
from spike_dgl.nn.kernels.message_passing import (
    dgl_inner_products,
    dgl_weighted_sum,
    edge_softmax,
    inner_products,
    product_of_types,
    sum_of_sources,
    typed_matrices,
    typed_product,
    weighted_sum,
)


def random(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


@pytest.fixture(params=["compiled", "torch"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with the code of the CPU and with that of other devices."""
    if request.param == "torch":
        monkeypatch.setattr(dispatch, "COMPILED_FOR", set())
    return str(request.param)


@pytest.mark.usefixtures("implementation")
def test_every_row_meets_the_matrix_of_its_type() -> None:
    rows, matrices, types = random(5, 3), random(4, 3, 2), torch.tensor([0, 0, 2, 2, 3])
    expected = torch.stack([row @ matrices[kind] for row, kind in zip(rows, types, strict=True)])
    torch.testing.assert_close(typed_product(rows, (2, 0, 2, 1), matrices), expected)
    torch.testing.assert_close(product_of_types(rows, types, matrices), expected)
    assert torch.autograd.gradcheck(lambda r, m: typed_product(r, (2, 0, 2, 1), m), (rows, matrices))
    assert torch.autograd.gradcheck(lambda r, m: product_of_types(r, types, m), (rows, matrices))


def test_matrices_are_within_glorots_bound() -> None:
    matrices = typed_matrices(7, 4, 2)
    assert matrices.shape == (7, 4, 2)
    assert 0.5 < matrices.abs().max() <= 1.0


@pytest.mark.usefixtures("implementation")
def test_edges_multiply_and_sum_as_a_loop_does() -> None:
    source, target = torch.tensor([0, 1, 1, 2]), torch.tensor([1, 1, 0, 1])
    graph = EdgeList(source, target, 3, 3)
    left, right, weights = random(3, 2, 4), random(3, 2, 4), random(4, 2, 1)
    products = inner_products(graph, left, right)
    torch.testing.assert_close(products, (left[source] * right[target]).sum(-1, keepdim=True))
    expected = torch.zeros_like(right).index_add(0, target, weights * left[source])
    torch.testing.assert_close(weighted_sum(graph, left, weights), expected)
    assert torch.autograd.gradcheck(lambda x, w: weighted_sum(graph, x, w), (left, weights))
    assert torch.autograd.gradcheck(lambda x, y: inner_products(graph, x, y), (left, right))
    flat = random(3, 4)
    torch.testing.assert_close(
        sum_of_sources(graph, flat), torch.zeros_like(flat).index_add(0, target, flat[source])
    )
    assert torch.autograd.gradcheck(lambda x: sum_of_sources(graph, x), (flat,))


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("heads", [(), (2,)])
def test_the_softmax_is_over_the_edges_to_a_node(heads: tuple[int, ...]) -> None:
    target = torch.tensor([3, 0, 3, 1, 3, 1])  # to node 2 leads no edge
    graph = EdgeList(torch.zeros_like(target), target, 1, 4)
    logits = random(6, *heads, 1)
    expected = torch.empty_like(logits)
    for node in range(4):
        expected[target == node] = logits[target == node].softmax(0)
    torch.testing.assert_close(edge_softmax(graph, logits), expected)
    assert torch.autograd.gradcheck(lambda x: edge_softmax(graph, x), (logits,))


def test_masked_logits_have_no_weight_and_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "COMPILED_FOR", set())
    graph = EdgeList(torch.zeros(3, dtype=torch.int64), torch.tensor([0, 0, 1]), 1, 2)
    logits = torch.tensor([[0.5], [-torch.inf], [-torch.inf]], requires_grad=True)
    weights = edge_softmax(graph, logits)
    assert weights.flatten().tolist() == [1.0, 0.0, 0.0]
    weights.square().sum().backward()
    assert not logits.grad.any()


@pytest.mark.parametrize("heads", [(), (2,)])
@pytest.mark.parametrize("num_edges", [0, 300])
def test_sums_and_their_gradients_are_dgls_own_bit_for_bit(heads: tuple[int, ...], num_edges: int) -> None:
    generator = torch.Generator().manual_seed(1)
    source, target = (torch.randint(0, size, (num_edges,), generator=generator) for size in (40, 20))
    # Some nodes are without edges, and some pairs have several.
    graph = EdgeList(source, target, 45, 22)
    shapes = (45, *heads, 8), (22, *heads, 8), (num_edges, *heads, 1)
    left, right, weights = (torch.randn(shape, generator=generator) for shape in shapes)

    def results(
        graph: object, sum_of: Callable[..., Tensor], products_of: Callable[..., Tensor]
    ) -> list[Tensor]:
        inputs = [numbers.clone().requires_grad_() for numbers in (left, right, weights)]
        summed, products = sum_of(graph, inputs[0], inputs[2]), products_of(graph, inputs[0], inputs[1])
        ((summed * right).sum() + (products * weights).sum()).backward()
        return [summed, products, *(numbers.grad for numbers in inputs if numbers.grad is not None)]

    ours = results(graph, weighted_sum, inner_products)
    dgls = results(graph.dgl_graph, dgl_weighted_sum, dgl_inner_products)
    assert len(ours) == len(dgls) == 5
    assert all(map(torch.equal, ours, dgls))


def test_sums_are_in_full_precision_under_autocast() -> None:
    graph = EdgeList(torch.tensor([0]), torch.tensor([1]), 2, 2)
    rows = torch.ones(2, 2, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert weighted_sum(graph, rows, torch.ones(1, 1)).dtype == torch.float32
