"""Building blocks of graph layers: a matrix per type; sums, softmax and inner products along edges.

`spike_dgl.nn.dispatch` chooses the implementation. All give the same numbers and gradients.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spike_dgl.dgl_import import DGLGraph, fn
from spike_dgl.dgl_import import edge_softmax as dgl_edge_softmax
from spike_dgl.nn.dispatch import is_compiled, message_passing_on
from spike_dgl.nn.graphs.edge_list import EdgeList
from spike_dgl.nn.kernels.segments import inner_products_of_edges, reduced, weighted_sums
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
def typed_product(rows: Tensor, sizes: Sequence[int], matrices: Tensor) -> Tensor:
    """Multiply each row with the matrix of its type, giving [n, D'].

    Parameters
    ----------
    rows
        Rows [n, D], in the order of their types.
    sizes
        Number of rows of each type, so that each type takes one matrix product.
    matrices
        One matrix [D, D'] per type.
    """
    # Not dgl.ops.segment_mm: on the CPU its backward pass allocates a tensor of all matrices for every type.
    parts = torch.split(rows, list(sizes))
    return torch.cat([part @ matrix for part, matrix in zip(parts, matrices.unbind(), strict=True)])


@in_full_precision
def product_of_types(rows: Tensor, types: Tensor, matrices: Tensor) -> Tensor:
    """Compute `typed_product` for a batch of rows [n, D] whose types [n] are drawn anew in every step; ascending."""
    if is_compiled(rows.device):
        return typed_product(rows, torch.bincount(types, minlength=len(matrices)).tolist(), matrices)
    # Counting the types would synchronise a GPU, so each row of the batch gets its own copy of a matrix.
    return torch.bmm(rows.unsqueeze(1), matrices.index_select(0, types)).squeeze(1)


@in_full_precision
def inner_products(edges: EdgeList, src_rows: Tensor, dst_rows: Tensor) -> Tensor:
    """Return inner products [E, ..., 1] of the src rows [n, ..., D] and dst rows [m, ..., D] of every edge."""
    if message_passing_on(src_rows.device) == "dgl":
        return dgl_inner_products(edges.dgl_graph, src_rows, dst_rows)
    return _InnerProducts.apply(edges, src_rows, dst_rows)  # type: ignore[no-any-return, no-untyped-call]


@in_full_precision
def weighted_sum(edges: EdgeList, src_rows: Tensor, weights: Tensor) -> Tensor:
    """Return sums [m, ..., D] of the src rows [n, ..., D] over each dst node's edges, weighted by [E, ..., 1]."""
    if message_passing_on(src_rows.device) == "dgl":
        return dgl_weighted_sum(edges.dgl_graph, src_rows, weights)
    return _WeightedSum.apply(edges, src_rows, weights)  # type: ignore[no-any-return, no-untyped-call]


@in_full_precision
def sum_of_sources(edges: EdgeList, src_rows: Tensor) -> Tensor:
    """Return the sums [m, D] of the src rows [n, D] over each dst node's edges."""
    if message_passing_on(src_rows.device) == "torch":
        return _Sum.apply(edges, src_rows)  # type: ignore[no-any-return, no-untyped-call]
    return sum_over_graph(edges.dgl_graph, src_rows)


def sum_over_graph(graph: DGLGraph, src_rows: Tensor) -> Tensor:
    """Compute `sum_of_sources` with DGL, on any device that it supports."""
    with graph.local_scope():
        graph.srcdata["row"] = src_rows
        graph.update_all(fn.copy_u("row", "message"), fn.sum("message", "sum"))
        total: Tensor = graph.dstdata["sum"]
        return total


@in_full_precision
def edge_softmax(edges: EdgeList, logits: Tensor) -> Tensor:
    """Return the softmax [E, ..., 1] of the logits over the edges to each dst node.

    On devices without DGL, logits of minus infinity are allowed; a node whose logits are all minus infinity has weights
    of zero.
    """
    if message_passing_on(logits.device) == "torch":
        return _EdgeSoftmax.apply(edges, logits)  # type: ignore[no-any-return, no-untyped-call]
    weights: Tensor = dgl_edge_softmax(edges.dgl_graph, logits)
    return weights


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
    """Inner products along edges, with gradients by `_sum_along_edges`."""

    @staticmethod
    def forward(ctx: Any, edges: EdgeList, src_rows: Tensor, dst_rows: Tensor) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(src_rows, dst_rows)
        return _products(edges, src_rows, dst_rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        src_rows, dst_rows = ctx.saved_tensors
        _, of_src, of_dst = ctx.needs_input_grad
        return (
            None,
            _sum_along_edges(ctx.edges, "to src", dst_rows, grad) if of_src else None,
            _sum_along_edges(ctx.edges, "to dst", src_rows, grad) if of_dst else None,
        )


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: EdgeList, src_rows: Tensor, weights: Tensor) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(src_rows, weights)
        return _sum_along_edges(edges, "to dst", src_rows, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        src_rows, weights = ctx.saved_tensors
        _, of_src, of_weights = ctx.needs_input_grad
        return (
            None,
            _sum_along_edges(ctx.edges, "to src", grad, weights) if of_src else None,
            _products(ctx.edges, src_rows, grad) if of_weights else None,
        )


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: EdgeList, src_rows: Tensor) -> Tensor:
        ctx.edges = edges
        return weighted_sums(edges.csc.start, edges.csc.other, None, src_rows.unsqueeze(1)).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        start, index, _ = ctx.edges.csr
        return None, weighted_sums(start, index, None, grad.contiguous().unsqueeze(1)).squeeze(1)


class _EdgeSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: EdgeList, logits: Tensor) -> Tensor:
        flat, (start, _, edge) = logits.flatten(1), edges.csc
        highest = reduced(start, edge, flat, "max").clamp_(min=torch.finfo(flat.dtype).min)
        exponentials = (flat - highest.index_select(0, edges.dst)).exp_()
        # The highest logit has an exponential of one; a smaller total is that of a node without edges.
        total = reduced(start, edge, exponentials, "sum").clamp_(min=1.0)
        weights = exponentials.div_(total.index_select(0, edges.dst))
        ctx.edges = edges
        ctx.save_for_backward(weights)
        return weights.view(logits.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        (weights,) = ctx.saved_tensors
        weighted = weights * grad.flatten(1)
        total = reduced(ctx.edges.csc.start, ctx.edges.csc.edge, weighted, "sum")
        return None, (weighted - weights * total.index_select(0, ctx.edges.dst)).view(grad.shape)


def _products(edges: EdgeList, src_rows: Tensor, dst_rows: Tensor) -> Tensor:
    """Compute `inner_products` without gradients."""
    if is_compiled(src_rows.device):
        return dgl_inner_products(edges.dgl_graph, src_rows, dst_rows)
    products = inner_products_of_edges(edges.src, edges.dst, _by_head(src_rows), _by_head(dst_rows))
    return products.view(len(edges), *src_rows.shape[1:-1], 1)


def _sum_along_edges(
    edges: EdgeList, way: Literal["to dst", "to src"], rows: Tensor, weights: Tensor
) -> Tensor:
    """Compute `weighted_sum`, or the sum in the opposite direction, without gradients."""
    if is_compiled(rows.device):
        return _sparse_products(edges.dgl_graph, way, rows, weights)
    start, index, edge = edges.csc if way == "to dst" else edges.csr
    by_head = weights.index_select(0, edge).flatten(1).t()
    return weighted_sums(start, index, by_head, _by_head(rows)).reshape(len(start) - 1, *rows.shape[1:])


def _by_head(rows: Tensor) -> Tensor:
    """Reshape [n, ..., D] to [n, H, D]."""
    return rows.reshape(len(rows), -1, rows.shape[-1])


def _sparse_products(
    graph: DGLGraph, way: Literal["to dst", "to src"], rows: Tensor, weights: Tensor
) -> Tensor:
    """Compute `_sum_along_edges` as sparse matrix products on the CPU.

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
