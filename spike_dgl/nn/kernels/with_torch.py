"""Attention and means along edges in torch, on any device.

No tensor [E, D] is saved for the backward pass.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from spike_dgl.nn.graphs.bipartite import BipartiteEdges
from spike_dgl.nn.graphs.messages import MessageGraph
from spike_dgl.nn.kernels.segments import inner_products_of_edges, reduced, weighted_sums


def attend(
    messages: MessageGraph, projected: Tensor, states: Tensor, relations: Tensor, num_heads: int
) -> tuple[Tensor, Tensor]:
    """Compute `spike_dgl.nn.kernels.attend`."""
    return _Attention.apply(messages, num_heads, projected, states, relations)  # type: ignore[no-any-return, no-untyped-call]


def mean_of_sources(edges: BipartiteEdges, rows: Tensor) -> Tensor:
    """Compute `spike_dgl.nn.kernels.mean_of_sources`."""
    return _Mean.apply(edges, rows)  # type: ignore[no-any-return, no-untyped-call]


class _Attention(torch.autograd.Function):
    """Attention that saves its inputs and the weights [E, H], and recomputes keys and values in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, messages: MessageGraph, num_heads: int, projected: Tensor, states: Tensor, relations: Tensor
    ) -> tuple[Tensor, Tensor]:
        edges = messages.attended
        query = split_heads(projected[messages.num_users :], num_heads)
        key = split_heads(of_pairs(messages, projected, relations), num_heads)
        attention = _softmax_by_dst(edges, _dot(edges, key, query) / math.sqrt(query.shape[-1]))
        value = split_heads(of_pairs(messages, states, relations), num_heads)
        ctx.messages, ctx.num_heads = messages, num_heads
        ctx.save_for_backward(projected, states, relations, attention)
        ctx.mark_non_differentiable(attention)
        return _sum_to_dst(edges, attention, value).flatten(1), attention

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[None, None, Tensor, Tensor, Tensor]:
        messages: MessageGraph = ctx.messages
        projected, states, relations, attention = ctx.saved_tensors
        edges, grad = messages.attended, split_heads(grad.contiguous(), ctx.num_heads)
        value = split_heads(of_pairs(messages, states, relations), ctx.num_heads)
        weighted = attention * _dot(edges, value, grad)
        total = _reduce_by_dst(edges, weighted, "sum").index_select(0, edges.dst)
        grad_logits = (weighted - attention * total) / math.sqrt(grad.shape[-1])
        query = split_heads(projected[messages.num_users :], ctx.num_heads)
        key = split_heads(of_pairs(messages, projected, relations), ctx.num_heads)
        grad_projected, grad_relations = _pair_gradients(
            messages, _sum_to_src(edges, grad_logits, query), projected, relations
        )
        grad_projected[messages.num_users :] += _sum_to_dst(edges, grad_logits, key).flatten(1)
        grad_states, more = _pair_gradients(messages, _sum_to_src(edges, attention, grad), states, relations)
        return None, None, grad_projected, grad_states, grad_relations + more


def of_pairs(messages: MessageGraph, rows: Tensor, relations: Tensor) -> Tensor:
    """Return the product [P, D] of each pair's node row and relation row."""
    return rows.index_select(0, messages.pair_src) * relations.index_select(0, messages.pair_relation)


def _pair_gradients(
    messages: MessageGraph, grad: Tensor, rows: Tensor, relations: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of `of_pairs` for node rows and relation rows, from that of the pairs [P, H, d_k]."""
    grad = grad.flatten(1)
    of_nodes = grad * relations.index_select(0, messages.pair_relation)
    of_relations = grad * rows.index_select(0, messages.pair_src)
    return (
        # The pairs of a node are consecutive, so its gradient is a sum over consecutive rows.
        functional.embedding_bag(
            torch.arange(len(grad), device=grad.device), of_nodes, messages.pair_start[:-1], mode="sum"
        ),
        torch.zeros_like(relations).index_add_(0, messages.pair_relation, of_relations),
    )


def split_heads(rows: Tensor, num_heads: int) -> Tensor:
    """Reshape [n, D] to [n, H, d_k]."""
    return rows.view(len(rows), num_heads, rows.shape[1] // num_heads)


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: BipartiteEdges, rows: Tensor) -> Tensor:
        count = edges.csc_start.diff().clamp(min=1).to(rows.dtype)
        share = (1.0 / count).index_select(0, edges.dst).unsqueeze(-1)
        ctx.edges, ctx.share = edges, share
        return _sum_to_dst(edges, share, rows.unsqueeze(1)).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, _sum_to_src(ctx.edges, ctx.share, grad.contiguous().unsqueeze(1)).squeeze(1)


def _dot(edges: BipartiteEdges, src_rows: Tensor, dst_rows: Tensor) -> Tensor:
    """Return the inner products [E, H] of the src rows [n, H, d_k] and the dst rows [m, H, d_k] of every edge."""
    return inner_products_of_edges(edges.src, edges.dst, src_rows, dst_rows)


def _softmax_by_dst(edges: BipartiteEdges, logits: Tensor) -> Tensor:
    """Return the softmax [E, H] over the in-edges of each dst node."""
    highest = _reduce_by_dst(edges, logits, "max")
    exponentials = (logits - highest.index_select(0, edges.dst)).exp_()
    return exponentials.div_(_reduce_by_dst(edges, exponentials, "sum").index_select(0, edges.dst))


def _reduce_by_dst(edges: BipartiteEdges, numbers: Tensor, how: Literal["sum", "max"]) -> Tensor:
    """Return the sums or maxima [m, H] of edge values [E, H] over each dst node's in-edges."""
    return reduced(edges.csc_start, torch.arange(len(edges), device=numbers.device), numbers, how)


def _sum_to_dst(edges: BipartiteEdges, weights: Tensor, rows: Tensor) -> Tensor:
    """Return the sums [m, H, d_k] of src rows [n, H, d_k], weighted by [E, H]."""
    return weighted_sums(edges.csc_start, edges.src, weights.t(), rows)


def _sum_to_src(edges: BipartiteEdges, weights: Tensor, rows: Tensor) -> Tensor:
    """Return the sums [n, H, d_k] of dst rows [m, H, d_k], weighted by [E, H]."""
    ordered = weights.t().index_select(1, edges.csr_order)
    return weighted_sums(edges.csr_start, edges.csr_dst, ordered, rows)
