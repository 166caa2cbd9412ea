"""Attention and means along edges in torch, on any device.

No tensor [E, D] is saved for the backward pass. Inner products are computed in blocks that fit the processor's cache.
Weighted sums use `torch.nn.functional.embedding_bag`, which adds up rows without storing them in between.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from spike_dgl.nn.graphs.bipartite import BipartiteEdges
from spike_dgl.nn.graphs.messages import MessageGraph

EDGES_PER_BLOCK = 8192
"""Number of edges whose rows are gathered at a time: 2 MB for each end at D = 64."""


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
        total = _sum_by_dst(edges, weighted).index_select(0, edges.dst)
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
    products = src_rows.new_empty(len(edges), src_rows.shape[1])
    for first in range(0, len(edges), EDGES_PER_BLOCK):
        block = slice(first, first + EDGES_PER_BLOCK)
        rows = src_rows.index_select(0, edges.src[block])
        rows *= dst_rows.index_select(0, edges.dst[block])
        torch.sum(rows, -1, out=products[block])
    return products


def _softmax_by_dst(edges: BipartiteEdges, logits: Tensor) -> Tensor:
    """Return the softmax [E, H] over the in-edges of each dst node."""
    index = edges.dst.unsqueeze(-1).expand_as(logits)
    highest = logits.new_full((edges.num_dst, logits.shape[1]), -math.inf)
    highest.scatter_reduce_(0, index, logits, "amax")
    exponentials = (logits - highest.index_select(0, edges.dst)).exp_()
    return exponentials.div_(_sum_by_dst(edges, exponentials).index_select(0, edges.dst))


def _sum_by_dst(edges: BipartiteEdges, numbers: Tensor) -> Tensor:
    """Return the sums [m, H] of edge values [E, H] over each dst node's in-edges."""
    total = numbers.new_zeros(edges.num_dst, numbers.shape[1])
    return total.scatter_add_(0, edges.dst.unsqueeze(-1).expand_as(numbers), numbers)


def _sum_to_dst(edges: BipartiteEdges, weights: Tensor, rows: Tensor) -> Tensor:
    """Return the sums [m, H, d_k] of src rows [n, H, d_k], weighted by [E, H]."""
    return _weighted_sum(edges.src, edges.csc_start, weights.t(), rows)


def _sum_to_src(edges: BipartiteEdges, weights: Tensor, rows: Tensor) -> Tensor:
    """Return the sums [n, H, d_k] of dst rows [m, H, d_k], weighted by [E, H]."""
    ordered = weights.t().index_select(1, edges.csr_order)
    return _weighted_sum(edges.csr_dst, edges.csr_start, ordered, rows)


def _weighted_sum(index: Tensor, start: Tensor, weights: Tensor, rows: Tensor) -> Tensor:
    """Return out[i, h] = sum over e in start[i]:start[i + 1] of weights[h, e] * rows[index[e], h].

    One call for all heads: node i and head h are row i * H + h of the flattened rows.
    """
    heads = torch.arange(rows.shape[1], device=rows.device).unsqueeze(-1)
    summed = functional.embedding_bag(
        (index * rows.shape[1] + heads).flatten(),
        rows.flatten(0, 1),
        (start[:-1] + heads * len(index)).flatten(),
        mode="sum",
        per_sample_weights=weights.flatten(),
    )
    return summed.view(rows.shape[1], len(start) - 1, rows.shape[2]).transpose(0, 1)
