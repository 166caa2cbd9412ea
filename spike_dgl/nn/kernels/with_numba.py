"""Attention and means along edges, compiled for the CPU: loops over edges with one row in registers at a time.

numba compiles the loops for the number and width of heads in use, once per machine, and caches the result on disk.
Each thread computes its own rows, so results do not depend on thread timing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spike_dgl.nn.compiled.compilation import Array, arrays, balanced_parts, compiled, run
from spike_dgl.nn.compiled.lanes import filled, larger, load, repeated, store, sums
from spike_dgl.nn.compiled.prefetch import AHEAD, prefetch
from spike_dgl.nn.graphs.bipartite import BipartiteEdges
from spike_dgl.nn.graphs.messages import MessageGraph


def attend(
    messages: MessageGraph, projected: Tensor, states: Tensor, relations: Tensor, num_heads: int
) -> tuple[Tensor, Tensor]:
    """Compute `spike_dgl.nn.kernels.attend` for CPU tensors of one dtype."""
    return _Attention.apply(messages, num_heads, projected, states, relations)  # type: ignore[no-any-return, no-untyped-call]


def mean_of_sources(edges: BipartiteEdges, rows: Tensor) -> Tensor:
    """Compute `spike_dgl.nn.kernels.mean_of_sources`."""
    return _Mean.apply(edges, rows)  # type: ignore[no-any-return, no-untyped-call]


class _Attention(torch.autograd.Function):
    """Attention that saves its inputs and the weights [E, H] for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, messages: MessageGraph, num_heads: int, projected: Tensor, states: Tensor, relations: Tensor
    ) -> tuple[Tensor, Tensor]:
        loops, edges = _loops(num_heads, states.shape[1] // num_heads), Csc.from_messages(messages)
        parts, queries = balanced_parts(edges.start, states.shape[1]), projected[messages.num_users :]
        attention = states.new_empty(len(messages.attended), num_heads)
        gathered = states.new_empty(len(queries), states.shape[1])
        run(loops.logits, parts, edges, *arrays(queries, projected, relations, attention))
        attention.exp_()  # in torch, because numba has no vectorised exp
        run(loops.gather, parts, edges, *arrays(states, relations, attention, gathered))
        ctx.messages, ctx.num_heads = messages, num_heads
        ctx.save_for_backward(projected, states, relations, attention)
        ctx.mark_non_differentiable(attention)
        return gathered, attention

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[None, None, Tensor, Tensor, Tensor]:
        messages: MessageGraph = ctx.messages
        projected, states, relations, attention = ctx.saved_tensors
        loops = _loops(ctx.num_heads, states.shape[1] // ctx.num_heads)
        csc, csr = Csc.from_messages(messages), Csr.from_messages(messages)
        queries, grad = projected[messages.num_users :], grad.contiguous()
        grad_logits, grad_states = torch.empty_like(attention), torch.empty_like(states)
        grad_projected = torch.zeros_like(projected)
        parts = balanced_parts(csc.start, states.shape[1])
        grad_relations = relations.new_zeros(len(parts), *relations.shape)
        run(
            loops.to_queries,
            parts,
            csc,
            *arrays(queries, projected, states, relations, attention, grad),
            *arrays(grad_logits, grad_projected[messages.num_users :]),
            own=arrays(*grad_relations),
        )
        run(
            loops.to_src,
            balanced_parts(csr.start, states.shape[1]),
            csr,
            *arrays(queries, relations, attention, grad, grad_logits, grad_projected, grad_states),
        )
        return None, None, grad_projected, grad_states, grad_relations.sum(0)


class Csc(NamedTuple):
    """Edges in CSC: edges ``start[i]`` to ``start[i + 1] - 1`` have dst i; their src nodes and relations."""

    start: Array
    src: Array
    relation: Array

    @classmethod
    def from_messages(cls, messages: MessageGraph) -> Csc:
        """Create from the attended edges of a message graph."""
        return cls(*arrays(messages.attended.csc_start, messages.src, messages.relation))


class Csr(NamedTuple):
    """Edges in CSR: edges ``start[i]`` to ``start[i + 1] - 1`` have src i; ``edge`` is the position in CSC."""

    start: Array
    edge: Array
    dst: Array
    relation: Array

    @classmethod
    def from_messages(cls, messages: MessageGraph) -> Csr:
        """Create from the attended edges of a message graph."""
        edges = messages.attended
        return cls(*arrays(messages.csr_start, edges.csr_order, edges.csr_dst, messages.csr_relation))


class Loops(NamedTuple):
    """Compiled loops for one number and width of heads."""

    logits: Callable[..., None]
    gather: Callable[..., None]
    to_queries: Callable[..., None]
    to_src: Callable[..., None]


@cache
def _loops(num_heads: int, width: int) -> Loops:
    """Compile the loops; `num_heads` and `width` are compile-time constants, so a row fits into vector registers."""
    dim = num_heads * width
    scale = 1.0 / math.sqrt(width)

    @compiled
    def logits(
        first: int,
        last: int,
        edges: Csc,
        queries: Array,
        keys: Array,
        relations: Array,
        shifted: Array,
    ) -> None:
        """Compute logits [E, H] minus the largest one of the same dst node and head."""
        start, src, relation = edges
        last_edge = len(src) - 1
        number = queries.dtype.type
        for i in range(first, last):
            query = load(queries, i, dim) * filled(number(scale), dim)
            highest = filled(number(-np.inf), num_heads)
            for e in range(start[i], start[i + 1]):
                prefetch(keys, src[min(e + AHEAD, last_edge)], dim)
                key = load(keys, src[e], dim) * load(relations, relation[e], dim)
                logit = sums(query * key, num_heads)
                store(shifted, e, logit)
                highest = larger(highest, logit)
            for e in range(start[i], start[i + 1]):
                store(shifted, e, load(shifted, e, num_heads) - highest)

    @compiled
    def gather(
        first: int,
        last: int,
        edges: Csc,
        values: Array,
        relations: Array,
        weights: Array,
        gathered: Array,
    ) -> None:
        """Normalise the weights [E, H] per dst node, and sum the messages weighted by them."""
        start, src, relation = edges
        last_edge = len(src) - 1
        number = values.dtype.type
        for i in range(first, last):
            total, whole = filled(number(0), dim), filled(number(0), num_heads)
            for e in range(start[i], start[i + 1]):
                prefetch(values, src[min(e + AHEAD, last_edge)], dim)
                weight = load(weights, e, num_heads)
                whole += weight
                value = load(values, src[e], dim) * load(relations, relation[e], dim)
                total += repeated(weight, dim) * value
            if start[i] == start[i + 1]:
                whole = filled(number(1), num_heads)
            share = filled(number(1), num_heads) / whole
            store(gathered, i, total * repeated(share, dim))
            for e in range(start[i], start[i + 1]):
                store(weights, e, load(weights, e, num_heads) * share)

    @compiled
    def to_queries(
        first: int,
        last: int,
        edges: Csc,
        queries: Array,
        keys: Array,
        values: Array,
        relations: Array,
        weights: Array,
        grad: Array,
        grad_logits: Array,
        grad_queries: Array,
        grad_relations: Array,
    ) -> None:
        """Compute gradients of logits and queries, and add this thread's part of the gradients of the relations."""
        start, src, relation = edges
        last_edge = len(src) - 1
        number = grad.dtype.type
        for i in range(first, last):
            above, mean = load(grad, i, dim), filled(number(0), num_heads)
            for e in range(start[i], start[i + 1]):
                prefetch(values, src[min(e + AHEAD, last_edge)], dim)
                value = load(values, src[e], dim) * load(relations, relation[e], dim)
                slope = sums(above * value, num_heads)
                store(grad_logits, e, slope)
                mean += slope * load(weights, e, num_heads)
            query, to_query = load(queries, i, dim), filled(number(0), dim)
            for e in range(start[i], start[i + 1]):
                prefetch(keys, src[min(e + AHEAD, last_edge)], dim)
                weight = load(weights, e, num_heads)
                slope = weight * (load(grad_logits, e, num_heads) - mean) * filled(number(scale), num_heads)
                store(grad_logits, e, slope)
                key = load(keys, src[e], dim) * repeated(slope, dim)
                value = load(values, src[e], dim) * repeated(weight, dim)
                to_query += key * load(relations, relation[e], dim)
                to_relation = load(grad_relations, relation[e], dim) + key * query + value * above
                store(grad_relations, relation[e], to_relation)
            store(grad_queries, i, to_query)

    @compiled
    def to_src(
        first: int,
        last: int,
        edges: Csr,
        queries: Array,
        relations: Array,
        weights: Array,
        grad: Array,
        grad_logits: Array,
        grad_keys: Array,
        grad_values: Array,
    ) -> None:
        """Compute gradients of the src nodes' values, and add those of their keys."""
        start, edge, dst, relation = edges
        last_edge = len(edge) - 1
        for i in range(first, last):
            # One sum at a time: two of 64 numbers would fill all vector registers.
            to_key = load(grad_keys, i, dim)
            for position in range(start[i], start[i + 1]):
                ahead = dst[min(position + AHEAD, last_edge)]
                prefetch(queries, ahead, dim)
                prefetch(grad, ahead, dim)
                query = load(queries, dst[position], dim) * load(relations, relation[position], dim)
                to_key += query * repeated(load(grad_logits, edge[position], num_heads), dim)
            store(grad_keys, i, to_key)
            to_value = filled(grad.dtype.type(0), dim)
            for position in range(start[i], start[i + 1]):
                above = load(grad, dst[position], dim) * load(relations, relation[position], dim)
                to_value += above * repeated(load(weights, edge[position], num_heads), dim)
            store(grad_values, i, to_value)

    return Loops(logits, gather, to_queries, to_src)


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: BipartiteEdges, rows: Tensor) -> Tensor:
        ctx.edges, ctx.share = edges, edges.csc_start.diff().clamp_(min=1).to(rows.dtype).reciprocal_()
        return _sums_of(edges.csc_start, edges.src, rows).mul_(ctx.share[:, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, _sums_of(ctx.edges.csr_start, ctx.edges.csr_dst, grad * ctx.share[:, None])


def _sums_of(start: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """out[i] = sum over e in start[i]:start[i + 1] of rows[index[e]]."""
    out = rows.new_empty(len(start) - 1, rows.shape[1])
    shared = arrays(start, index, rows, out)
    run(_sum(rows.shape[1]), balanced_parts(shared[0], rows.shape[1]), *shared)
    return out


@cache
def _sum(dim: int) -> Callable[..., None]:
    @compiled
    def add_up(first: int, last: int, start: Array, index: Array, rows: Array, out: Array) -> None:
        last_edge = len(index) - 1
        for i in range(first, last):
            total = filled(rows.dtype.type(0), dim)
            for e in range(start[i], start[i + 1]):
                prefetch(rows, index[min(e + AHEAD, last_edge)], dim)
                total += load(rows, index[e], dim)
            store(out, i, total)

    return add_up
