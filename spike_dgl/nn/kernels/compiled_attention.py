"""Attention compiled for the CPU: passes over the edges that hold one row at a time.

numba compiles the loops for the number and width of heads in use, once a machine, and keeps the result on disk. Every
thread computes rows of its own, so no sum depends on which thread was faster.
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

from spike_dgl.nn.kernels.compilation import Array, arrays, balanced_parts, compiled, run
from spike_dgl.nn.kernels.prefetch import prefetch
from spike_dgl.nn.message_graph import MessageGraph

EDGES_AHEAD = 8
"""How far ahead of the arithmetic rows are asked for."""
LINE = 16
"""Numbers of 4 bytes in a cache line."""


def attend(
    messages: MessageGraph, projected: Tensor, states: Tensor, relations: Tensor, num_heads: int
) -> tuple[Tensor, Tensor]:
    """As `spike_dgl.nn.kernels.attend`, for tensors of one type on the CPU."""
    return _Attention.apply(messages, num_heads, projected, states, relations)  # type: ignore[no-any-return, no-untyped-call]


class _Attention(torch.autograd.Function):
    """Keeps its inputs and the weights [E, H]."""

    @staticmethod
    def forward(
        ctx: Any, messages: MessageGraph, num_heads: int, projected: Tensor, states: Tensor, relations: Tensor
    ) -> tuple[Tensor, Tensor]:
        loops, edges = _loops(num_heads, states.shape[1] // num_heads), Entering.of(messages)
        parts, queries = balanced_parts(edges.start, states.shape[1]), projected[messages.num_users :]
        attention = states.new_empty(len(messages.edges), num_heads)
        gathered = states.new_empty(len(queries), states.shape[1])
        run(loops.logits, parts, edges, *arrays(queries, projected, relations, attention))
        attention.exp_()  # vectorised in torch, but not within a compiled loop
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
        entering, leaving = Entering.of(messages), Leaving.of(messages)
        queries, grad = projected[messages.num_users :], grad.contiguous()
        grad_logits, grad_states = torch.empty_like(attention), torch.empty_like(states)
        grad_projected = torch.zeros_like(projected)
        parts = balanced_parts(entering.start, states.shape[1])
        grad_relations = relations.new_zeros(len(parts), *relations.shape)
        run(
            loops.to_queries,
            parts,
            entering,
            *arrays(queries, projected, states, relations, attention, grad),
            *arrays(grad_logits, grad_projected[messages.num_users :]),
            own=arrays(*grad_relations),
        )
        run(
            loops.to_sources,
            balanced_parts(leaving.start, states.shape[1]),
            leaving,
            *arrays(queries, relations, attention, grad, grad_logits, grad_projected, grad_states),
        )
        return None, None, grad_projected, grad_states, grad_relations.sum(0)


class Entering(NamedTuple):
    """Edges by target: those of target i are ``start[i]`` to ``start[i + 1] - 1``."""

    start: Array
    node: Array
    relation: Array

    @classmethod
    def of(cls, messages: MessageGraph) -> Entering:
        """All edges of a message graph."""
        return cls(*arrays(messages.edges.target_start, messages.edge_node, messages.edge_relation))


class Leaving(NamedTuple):
    """Edges by source: those of node i are ``order[start[i]]`` to ``order[start[i + 1] - 1]``."""

    start: Array
    order: Array
    target: Array
    relation: Array

    @classmethod
    def of(cls, messages: MessageGraph) -> Leaving:
        """All edges of a message graph."""
        edges = messages.edges
        return cls(*arrays(messages.node_start, edges.by_source, edges.target, messages.edge_relation))


class Loops(NamedTuple):
    """The compiled loops for one number and width of heads."""

    logits: Callable[..., None]
    gather: Callable[..., None]
    to_queries: Callable[..., None]
    to_sources: Callable[..., None]


@cache
def _loops(num_heads: int, width: int) -> Loops:
    """`num_heads` and `width` become constants of the machine code, which is what lets it be vectorised."""
    dim = num_heads * width
    scale = 1.0 / math.sqrt(width)

    @compiled
    def logits(
        first: int,
        last: int,
        edges: Entering,
        queries: Array,
        keys: Array,
        relations: Array,
        shifted: Array,
    ) -> None:
        """Logits [E, H], less the largest one of the same target and head."""
        start, node, relation = edges
        query = np.empty(dim, queries.dtype)
        for i in range(first, last):
            for e in range(start[i], start[i + 1]):
                if e == start[i] or relation[e] != relation[e - 1]:
                    by = relations[relation[e]]
                    for d in range(dim):
                        query[d] = queries[i, d] * by[d] * queries.dtype.type(scale)
                if e + EDGES_AHEAD < len(node):
                    for d in range(0, dim, LINE):
                        prefetch(keys, node[e + EDGES_AHEAD], d)
                key = keys[node[e]]
                for h in range(num_heads):
                    total = queries.dtype.type(0)
                    for d in range(h * width, h * width + width):
                        total += query[d] * key[d]
                    shifted[e, h] = total
            for h in range(num_heads):
                highest = queries.dtype.type(-np.inf)
                for e in range(start[i], start[i + 1]):
                    highest = max(highest, shifted[e, h])
                for e in range(start[i], start[i + 1]):
                    shifted[e, h] -= highest

    @compiled
    def gather(
        first: int,
        last: int,
        edges: Entering,
        values: Array,
        relations: Array,
        weights: Array,
        gathered: Array,
    ) -> None:
        """Scale the weights [E, H] to a sum of one for each target, and sum the messages by them."""
        start, node, relation = edges
        of_run = np.empty(dim, values.dtype)
        for i in range(first, last):
            for h in range(num_heads):
                whole = values.dtype.type(0)
                for e in range(start[i], start[i + 1]):
                    whole += weights[e, h]
                for e in range(start[i], start[i + 1]):
                    weights[e, h] /= whole
            for d in range(dim):
                of_run[d], gathered[i, d] = 0, 0
            for e in range(start[i], start[i + 1]):
                if e + EDGES_AHEAD < len(node):
                    for d in range(0, dim, LINE):
                        prefetch(values, node[e + EDGES_AHEAD], d)
                value = values[node[e]]
                for h in range(num_heads):
                    weight = weights[e, h]
                    for d in range(h * width, h * width + width):
                        of_run[d] += weight * value[d]
                if e + 1 == start[i + 1] or relation[e + 1] != relation[e]:
                    by = relations[relation[e]]
                    for d in range(dim):
                        gathered[i, d] += of_run[d] * by[d]
                        of_run[d] = 0

    @compiled
    def to_queries(
        first: int,
        last: int,
        edges: Entering,
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
        """Gradients of logits and queries, and what this part of the targets gives those of the relations."""
        start, node, relation = edges
        above = np.empty(dim, grad.dtype)
        to_query, to_value = np.empty(dim, grad.dtype), np.empty(dim, grad.dtype)
        mean = np.empty(num_heads, grad.dtype)
        for i in range(first, last):
            mean[:] = 0
            for e in range(start[i], start[i + 1]):
                if e == start[i] or relation[e] != relation[e - 1]:
                    by = relations[relation[e]]
                    for d in range(dim):
                        above[d] = grad[i, d] * by[d]
                if e + EDGES_AHEAD < len(node):
                    for d in range(0, dim, LINE):
                        prefetch(values, node[e + EDGES_AHEAD], d)
                value = values[node[e]]
                for h in range(num_heads):
                    slope = grad.dtype.type(0)
                    for d in range(h * width, h * width + width):
                        slope += above[d] * value[d]
                    grad_logits[e, h] = slope
                    mean[h] += slope * weights[e, h]
            for d in range(dim):
                to_query[d], to_value[d], grad_queries[i, d] = 0, 0, 0
            for e in range(start[i], start[i + 1]):
                if e + EDGES_AHEAD < len(node):
                    for d in range(0, dim, LINE):
                        prefetch(keys, node[e + EDGES_AHEAD], d)
                key, value = keys[node[e]], values[node[e]]
                for h in range(num_heads):
                    weight = weights[e, h]
                    slope = weight * (grad_logits[e, h] - mean[h]) * grad.dtype.type(scale)
                    grad_logits[e, h] = slope
                    for d in range(h * width, h * width + width):
                        to_query[d] += slope * key[d]
                        to_value[d] += weight * value[d]
                if e + 1 == start[i + 1] or relation[e + 1] != relation[e]:
                    by, grad_by = relations[relation[e]], grad_relations[relation[e]]
                    for d in range(dim):
                        grad_queries[i, d] += to_query[d] * by[d]
                        grad_by[d] += to_query[d] * queries[i, d] + to_value[d] * grad[i, d]
                        to_query[d], to_value[d] = 0, 0

    @compiled
    def to_sources(
        first: int,
        last: int,
        edges: Leaving,
        queries: Array,
        relations: Array,
        weights: Array,
        grad: Array,
        grad_logits: Array,
        grad_keys: Array,
        grad_values: Array,
    ) -> None:
        """Gradients of the sources' keys, added to what is there, and of their values."""
        start, order, target, relation = edges
        to_key, to_value = np.zeros(dim, grad.dtype), np.zeros(dim, grad.dtype)
        for i in range(first, last):
            for d in range(dim):
                grad_values[i, d] = 0
            for position in range(start[i], start[i + 1]):
                e = order[position]
                if position + EDGES_AHEAD < len(order):
                    ahead = target[order[position + EDGES_AHEAD]]
                    for d in range(0, dim, LINE):
                        prefetch(queries, ahead, d)
                        prefetch(grad, ahead, d)
                query, above = queries[target[e]], grad[target[e]]
                for h in range(num_heads):
                    slope, weight = grad_logits[e, h], weights[e, h]
                    for d in range(h * width, h * width + width):
                        to_key[d] += slope * query[d]
                        to_value[d] += weight * above[d]
                if position + 1 == start[i + 1] or relation[order[position + 1]] != relation[e]:
                    by = relations[relation[e]]
                    for d in range(dim):
                        grad_keys[i, d] += to_key[d] * by[d]
                        grad_values[i, d] += to_value[d] * by[d]
                        to_key[d], to_value[d] = 0, 0

    return Loops(logits, gather, to_queries, to_sources)
