"""The steps that graph layers are put together from: a matrix per type, products and weighted sums along edges."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spike_dgl.dgl_import import DGLGraph, fn
from spike_dgl.nn.precision import in_full_precision


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
    with graph.local_scope():
        graph.srcdata["source"], graph.dstdata["target"] = sources, targets
        graph.apply_edges(fn.u_dot_v("source", "target", "product"))
        product: Tensor = graph.edata["product"]
        return product


@in_full_precision
def weighted_sum(graph: DGLGraph, sources: Tensor, weights: Tensor) -> Tensor:
    """[m, ..., D] sums of the rows of each node's sources [n, ..., D], weighted by [E, ..., 1]."""
    with graph.local_scope():
        graph.srcdata["source"], graph.edata["weight"] = sources, weights
        graph.update_all(fn.u_mul_e("source", "weight", "message"), fn.sum("message", "sum"))
        total: Tensor = graph.dstdata["sum"]
        return total
