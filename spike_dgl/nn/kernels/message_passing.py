"""Building blocks of graph layers: a matrix per type, inner products and weighted sums along edges."""

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
    # torch warns once per process that CSR tensors are in beta; the operations used here are tested against DGL.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0], [], [], (0, 0))


def typed_matrices(num_types: int, in_dim: int, out_dim: int) -> nn.Parameter:
    """Return trainable matrices [num_types, in_dim, out_dim], initialised as by Glorot and Bengio (AISTATS 2010)."""
    bound = math.sqrt(6.0 / (in_dim + out_dim))
    return nn.Parameter(torch.empty(num_types, in_dim, out_dim).uniform_(-bound, bound))


@in_full_precision
def typed_product(rows: Tensor, types: Tensor, matrices: Tensor) -> Tensor:
    """Multiply each row with the matrix of its type, giving [n, D'].

    Parameters
    ----------
    rows
        Rows [n, D].
    types
        Types [n], ascending, so that each type takes one matrix product.
    matrices
        One matrix [D, D'] per type.
    """
    # Not dgl.ops.segment_mm: on the CPU its backward pass allocates a tensor of all matrices for every type.
    parts = torch.split(rows, torch.bincount(types, minlength=len(matrices)).tolist())
    return torch.cat([part @ matrix for part, matrix in zip(parts, matrices.unbind(), strict=True)])


@in_full_precision
def inner_products(graph: DGLGraph, src_rows: Tensor, dst_rows: Tensor) -> Tensor:
    """Return inner products [E, ..., 1] of the src rows [n, ..., D] and dst rows [m, ..., D] of every edge."""
    if src_rows.device.type == "cpu":
        return _InnerProducts.apply(graph, src_rows, dst_rows)  # type: ignore[no-any-return, no-untyped-call]
    return dgl_inner_products(graph, src_rows, dst_rows)


@in_full_precision
def weighted_sum(graph: DGLGraph, src_rows: Tensor, weights: Tensor) -> Tensor:
    """Return sums [m, ..., D] of the src rows [n, ..., D] over each dst node's edges, weighted by [E, ..., 1]."""
    if src_rows.device.type == "cpu":
        return _WeightedSum.apply(graph, src_rows, weights)  # type: ignore[no-any-return, no-untyped-call]
    return dgl_weighted_sum(graph, src_rows, weights)


def dgl_inner_products(graph: DGLGraph, src_rows: Tensor, dst_rows: Tensor) -> Tensor:
    """Compute `inner_products` and their gradients with DGL, on any device that it supports."""
    with graph.local_scope():
        graph.srcdata["src_row"], graph.dstdata["dst_row"] = src_rows, dst_rows
        graph.apply_edges(fn.u_dot_v("src_row", "dst_row", "product"))
        product: Tensor = graph.edata["product"]
        return product


def dgl_weighted_sum(graph: DGLGraph, src_rows: Tensor, weights: Tensor) -> Tensor:
    """Compute `weighted_sum` and its gradients with DGL, on any device that it supports."""
    with graph.local_scope():
        graph.srcdata["src_row"], graph.edata["weight"] = src_rows, weights
        graph.update_all(fn.u_mul_e("src_row", "weight", "message"), fn.sum("message", "sum"))
        total: Tensor = graph.dstdata["sum"]
        return total


class _InnerProducts(torch.autograd.Function):
    """Inner products by DGL, with gradients by `_sum_along_edges`."""

    @staticmethod
    def forward(ctx: Any, graph: DGLGraph, src_rows: Tensor, dst_rows: Tensor) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(src_rows, dst_rows)
        return dgl_inner_products(graph, src_rows, dst_rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        src_rows, dst_rows = ctx.saved_tensors
        _, of_src, of_dst = ctx.needs_input_grad
        return (
            None,
            _sum_along_edges(ctx.graph, "to src", dst_rows, grad) if of_src else None,
            _sum_along_edges(ctx.graph, "to dst", src_rows, grad) if of_dst else None,
        )


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, graph: DGLGraph, src_rows: Tensor, weights: Tensor) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(src_rows, weights)
        return _sum_along_edges(graph, "to dst", src_rows, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        src_rows, weights = ctx.saved_tensors
        _, of_src, of_weights = ctx.needs_input_grad
        return (
            None,
            _sum_along_edges(ctx.graph, "to src", grad, weights) if of_src else None,
            dgl_inner_products(ctx.graph, src_rows, grad) if of_weights else None,
        )


def _sum_along_edges(
    graph: DGLGraph, way: Literal["to dst", "to src"], rows: Tensor, weights: Tensor
) -> Tensor:
    """Compute `weighted_sum`, or the sum in the opposite direction, as sparse matrix products on the CPU.

    Several times as fast as DGL's loop, which looks up the weight again for every number it reads. The results are
    equal bit for bit, since the edges of a row are added in the same order.
    """
    start, index, edge = graph.adj_tensors("csc" if way == "to dst" else "csr")
    weights = weights.index_select(0, edge).flatten(1)
    heads = weights.shape[1]
    size = (len(start) - 1, len(rows))
    by_head = zip(weights.unbind(1), rows.reshape(len(rows), heads, rows.shape[-1]).unbind(1), strict=True)
    sums = [
        torch.sparse_csr_tensor(start, index, of_head, size, check_invariants=False) @ rows_of_head
        for of_head, rows_of_head in by_head
    ]
    return torch.stack(sums, dim=1).view(size[0], *rows.shape[1:])
