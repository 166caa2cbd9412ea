"""The steps that graph layers are put together from: a matrix per type, products and weighted sums along edges."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spike_dgl.dgl_import import DGLGraph, fn
from spike_dgl.nn.precision import in_full_precision

with warnings.catch_warnings():
    # torch says once a process that such tensors are in beta; what is asked of them here is tested against DGL.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0], [], [], (0, 0))


def typed_matrices(num_types: int, in_dim: int, out_dim: int) -> nn.Parameter:
    """[num_types, in_dim, out_dim] trainable matrices, each drawn as by Glorot and Bengio (AISTATS 2010)."""
    bound = math.sqrt(6.0 / (in_dim + out_dim))
    return nn.Parameter(torch.empty(num_types, in_dim, out_dim).uniform_(-bound, bound))


@in_full_precision
def typed_product(rows: Tensor, types: Tensor, matrices: Tensor) -> Tensor:
    """Each row times the matrix of its type: [n, D'].

    Parameters
    ----------
    rows
        [n, D].
    types
        [n] ascending, so that the rows of a type stand together and take one product.
    matrices
        [number of types, D, D'].
    """
    # Not dgl.ops.segment_mm: on the CPU its backward pass fills a tensor of all matrices for every type.
    parts = torch.split(rows, torch.bincount(types, minlength=len(matrices)).tolist())
    return torch.cat([part @ matrix for part, matrix in zip(parts, matrices.unbind(), strict=True)])


@in_full_precision
def inner_products(graph: DGLGraph, sources: Tensor, targets: Tensor) -> Tensor:
    """[E, ..., 1] inner products of the rows at both ends of every edge, [n, ..., D] and [m, ..., D]."""
    if sources.device.type == "cpu":
        return _InnerProducts.apply(graph, sources, targets)  # type: ignore[no-any-return, no-untyped-call]
    return dgl_inner_products(graph, sources, targets)


@in_full_precision
def weighted_sum(graph: DGLGraph, sources: Tensor, weights: Tensor) -> Tensor:
    """[m, ..., D] sums of the rows of each node's sources [n, ..., D], weighted by [E, ..., 1]."""
    if sources.device.type == "cpu":
        return _WeightedSum.apply(graph, sources, weights)  # type: ignore[no-any-return, no-untyped-call]
    return dgl_weighted_sum(graph, sources, weights)


def dgl_inner_products(graph: DGLGraph, sources: Tensor, targets: Tensor) -> Tensor:
    """As `inner_products`, by DGL alone, gradients too; on any device that it runs on."""
    with graph.local_scope():
        graph.srcdata["source"], graph.dstdata["target"] = sources, targets
        graph.apply_edges(fn.u_dot_v("source", "target", "product"))
        product: Tensor = graph.edata["product"]
        return product


def dgl_weighted_sum(graph: DGLGraph, sources: Tensor, weights: Tensor) -> Tensor:
    """As `weighted_sum`, by DGL alone, gradients too; on any device that it runs on."""
    with graph.local_scope():
        graph.srcdata["source"], graph.edata["weight"] = sources, weights
        graph.update_all(fn.u_mul_e("source", "weight", "message"), fn.sum("message", "sum"))
        total: Tensor = graph.dstdata["sum"]
        return total


class _InnerProducts(torch.autograd.Function):
    """DGL's products, with gradients by `_sum_along_edges`."""

    @staticmethod
    def forward(ctx: Any, graph: DGLGraph, sources: Tensor, targets: Tensor) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(sources, targets)
        return dgl_inner_products(graph, sources, targets)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        sources, targets = ctx.saved_tensors
        _, of_sources, of_targets = ctx.needs_input_grad
        return (
            None,
            _sum_along_edges(ctx.graph, "to sources", targets, grad) if of_sources else None,
            _sum_along_edges(ctx.graph, "to targets", sources, grad) if of_targets else None,
        )


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, graph: DGLGraph, sources: Tensor, weights: Tensor) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(sources, weights)
        return _sum_along_edges(graph, "to targets", sources, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        sources, weights = ctx.saved_tensors
        _, of_sources, of_weights = ctx.needs_input_grad
        return (
            None,
            _sum_along_edges(ctx.graph, "to sources", grad, weights) if of_sources else None,
            dgl_inner_products(ctx.graph, sources, grad) if of_weights else None,
        )


def _sum_along_edges(
    graph: DGLGraph, way: Literal["to targets", "to sources"], rows: Tensor, weights: Tensor
) -> Tensor:
    """The sums of `weighted_sum`, or those of targets' rows to sources, as sparse products on the CPU.

    They are the same numbers as DGL's, bit for bit: a row's edges are added in the same order. DGL's own loop looks up,
    for every number it reads, which weight it goes with, and takes several times as long.
    """
    start, index, edge = graph.adj_tensors("csc" if way == "to targets" else "csr")
    weights = weights.index_select(0, edge).flatten(1)
    heads = weights.shape[1]
    size = (len(start) - 1, len(rows))
    by_head = zip(weights.unbind(1), rows.reshape(len(rows), heads, rows.shape[-1]).unbind(1), strict=True)
    sums = [
        torch.sparse_csr_tensor(start, index, of_head, size, check_invariants=False) @ rows_of_head
        for of_head, rows_of_head in by_head
    ]
    return torch.stack(sums, dim=1).view(size[0], *rows.shape[1:])
