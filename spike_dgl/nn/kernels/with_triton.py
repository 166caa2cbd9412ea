"""Attention and means along edges as fused Triton kernels, for GPUs.

One program computes a row of the result (a dst node; going back, a src node or a relation), a tile of edges at a time.
It reads the rows of the other end, multiplies them with the relation's on the way, and keeps sums and softmax in
registers (online softmax: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018), so there is no
tensor [E, D]. A row with many edges has several programs, whose results are combined in a fixed order. No kernel uses
atomic additions, so results are the same in every run.

Without a GPU the kernels run in Triton's interpreter, if the variable TRITON_INTERPRET is 1 when Triton is imported.
"""

from __future__ import annotations

import os
from typing import Any

# Triton 3.9 warns if it is not set; products and sums are fused into one instruction either way.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from spike_dgl.nn.graphs.bipartite import BipartiteEdges
from spike_dgl.nn.graphs.messages import MessageGraph
from spike_dgl.nn.graphs.spans import Spans

NUMBERS_PER_TILE = 2048
"""Numbers of a tile of edges, which stay in registers."""
EDGES_PER_TILE = 32
"""Maximum number of edges of a tile; most nodes have few."""


def attend(
    messages: MessageGraph, projected: Tensor, states: Tensor, relations: Tensor, num_heads: int
) -> tuple[Tensor, Tensor]:
    """Compute `spike_dgl.nn.kernels.attend`."""
    # Triton launches on the current device, whatever that of its tensors.
    with torch.cuda.device_of(states):  # type: ignore[no-untyped-call]
        return _Attention.apply(messages, num_heads, projected, states, relations)  # type: ignore[no-any-return, no-untyped-call]


def mean_of_sources(edges: BipartiteEdges, rows: Tensor) -> Tensor:
    """Compute `spike_dgl.nn.kernels.mean_of_sources`."""
    with torch.cuda.device_of(rows):  # type: ignore[no-untyped-call]
        return _Mean.apply(edges, rows)  # type: ignore[no-any-return, no-untyped-call]


class _Attention(torch.autograd.Function):
    """Attention that saves its inputs, its result and the weights [E, H] for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, messages: MessageGraph, num_heads: int, projected: Tensor, states: Tensor, relations: Tensor
    ) -> tuple[Tensor, Tensor]:
        projected, states, relations = (rows.contiguous() for rows in (projected, states, relations))
        edges, sizes = messages.attended, _sizes(num_heads, states.shape[1])
        spans, logits = edges.csc_spans, states.new_empty(len(edges), num_heads)
        gathered = states.new_empty(len(spans.row), states.shape[1])
        highest, total = states.new_empty(2, len(spans.row), num_heads)
        queries = projected[messages.num_users :]
        _run(
            _attend, spans, sizes, spans.row, messages.src, messages.relation,
            queries, projected, states, relations, logits, gathered, highest, total,
        )  # fmt: skip
        if spans.part is not None:
            _combine_softmax[(spans.num_rows,)](spans.part, gathered, highest, total, **sizes)
        log_sum = (highest + total.log())[: spans.num_rows]
        attention = logits.sub_(log_sum.index_select(0, edges.dst)).exp_()
        gathered = gathered[: spans.num_rows]
        ctx.messages, ctx.num_heads = messages, num_heads
        ctx.save_for_backward(projected, states, relations, attention, gathered)
        ctx.mark_non_differentiable(attention)
        return gathered, attention

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[None, None, Tensor, Tensor, Tensor]:
        messages: MessageGraph = ctx.messages
        projected, states, relations, attention, gathered = ctx.saved_tensors
        edges, sizes, grad = messages.attended, _sizes(ctx.num_heads, states.shape[1]), grad.contiguous()
        queries, grad_logits = projected[messages.num_users :], torch.empty_like(attention)
        to_queries = _sums_by_row(
            _to_queries, edges.csc_spans, sizes, edges.csc_spans.row, messages.src, messages.relation,
            projected, states, relations, attention, gathered, grad, grad_logits,
        )  # fmt: skip
        spans, width = messages.csr_spans, states.shape[1]
        to_keys, to_values = states.new_empty(2, len(spans.row), width)
        _run(
            _to_src, spans, sizes, edges.csr_order, edges.csr_dst, messages.csr_relation,
            queries, relations, attention, grad, grad_logits, to_keys, to_values,
        )  # fmt: skip
        order, start = messages.by_relation(len(relations))
        to_relations = _sums_by_row(
            _to_relations, Spans.from_rows(start, len(edges)), sizes, order, messages.src, edges.dst,
            queries, projected, states, attention, grad, grad_logits,
        )  # fmt: skip
        to_projected, to_states = (_added(spans, sums) for sums in (to_keys, to_values))
        to_projected[messages.num_users :] += to_queries
        return None, None, to_projected, to_states, to_relations


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: BipartiteEdges, rows: Tensor) -> Tensor:
        ctx.edges, ctx.share = edges, edges.csc_start.diff().clamp_(min=1).to(rows.dtype).reciprocal_()
        return _sums_of(edges.csc_spans, edges.src, rows).mul_(ctx.share[:, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, _sums_of(ctx.edges.csr_spans, ctx.edges.csr_dst, grad * ctx.share[:, None])


def _sums_of(spans: Spans, index: Tensor, rows: Tensor) -> Tensor:
    """Return the sums [n, D] of ``rows[index[e]]`` over the edges e of each row of `spans`."""
    return _sums_by_row(_sum, spans, _sizes(1, rows.shape[1]), index, rows.contiguous())


def _sums_by_row(kernel: Any, spans: Spans, sizes: dict[str, int], *tensors: Tensor) -> Tensor:
    """Run a kernel whose last argument receives a row [D] of each span; return the sums [n, D] of each row."""
    sums = tensors[-1].new_empty(len(spans.row), sizes["H"] * sizes["W"])
    _run(kernel, spans, sizes, *tensors, sums)
    return _added(spans, sums)


def _added(spans: Spans, sums: Tensor) -> Tensor:
    """Return the sums [n, D] of each row from those of all spans, [s, D]."""
    if spans.part is not None:
        _add_parts[(spans.num_rows,)](
            spans.part, sums, D=sums.shape[1], WP=triton.next_power_of_2(sums.shape[1])
        )
    return sums[: spans.num_rows]


def _run(kernel: Any, spans: Spans, sizes: dict[str, int], *tensors: Tensor) -> None:
    cells = sizes["HP"] * sizes["WP"]
    kernel[(len(spans.row),)](
        spans.first, spans.last, *tensors, **sizes,
        B=min(EDGES_PER_TILE, max(1, NUMBERS_PER_TILE // cells)), num_warps=4 if cells > 64 else 2,
    )  # fmt: skip


def _sizes(num_heads: int, dim: int) -> dict[str, int]:
    """Return the constants of the kernels: H heads of W numbers, and the powers of two above."""
    width = dim // num_heads
    return {
        "H": num_heads,
        "W": width,
        "HP": triton.next_power_of_2(num_heads),
        "WP": triton.next_power_of_2(width),
    }


@triton.jit
def _cells(H: tl.constexpr, W: tl.constexpr, HP: tl.constexpr, WP: tl.constexpr) -> Any:
    """Return the positions [HP, WP] of a row's numbers by head, and which of them there are."""
    h, w = tl.arange(0, HP)[:, None], tl.arange(0, WP)[None, :]
    return h * W + w, (h < H) & (w < W)


@triton.jit
def _rows_at(rows: tl.tensor, number: tl.tensor, cell: tl.tensor, here: tl.tensor, D: tl.constexpr) -> Any:
    """Load the rows with some numbers [B], as [B, HP, WP]."""
    # In 64 bits: 34 million rows of 64 numbers are too many for 32.
    return tl.load(rows + number.to(tl.int64)[:, None, None] * D + cell[None], mask=here, other=0.0)


@triton.jit
def _attend(
    first: tl.tensor, last: tl.tensor, row: tl.tensor, srcs: tl.tensor, relation_rows: tl.tensor,
    queries: tl.tensor, keys: tl.tensor, values: tl.tensor, relations: tl.tensor,
    logits: tl.tensor, gathered: tl.tensor, highests: tl.tensor, totals: tl.tensor,
    H: tl.constexpr, W: tl.constexpr, HP: tl.constexpr, WP: tl.constexpr, B: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the logits [E, H], and of each span the highest one, the sum of exponentials, and the weighted mean."""
    span, D = tl.program_id(0).to(tl.int64), H * W
    cell, is_cell = _cells(H, W, HP, WP)
    h = tl.arange(0, HP)
    query = tl.load(queries + tl.load(row + span) * D + cell, mask=is_cell, other=0.0)
    highest = tl.full((HP,), float("-inf"), query.dtype)
    total, sums = tl.zeros((HP,), query.dtype), tl.zeros((HP, WP), query.dtype)
    end = tl.load(last + span)
    for e in range(tl.load(first + span), end, B):
        edge = e + tl.arange(0, B)
        is_edge = edge < end
        here = is_edge[:, None, None] & is_cell[None]
        src = tl.load(srcs + edge, mask=is_edge, other=0)
        relation = _rows_at(relations, tl.load(relation_rows + edge, mask=is_edge, other=0), cell, here, D)
        key = _rows_at(keys, src, cell, here, D) * relation
        logit = tl.sum(query[None] * key, 2) / tl.sqrt(tl.full((B, HP), W, query.dtype))
        tl.store(logits + edge[:, None] * H + h[None], logit, mask=is_edge[:, None] & (h < H)[None])
        logit = tl.where(is_edge[:, None], logit, float("-inf"))
        higher = tl.maximum(highest, tl.max(logit, 0))
        weight, shrunk = tl.exp(logit - higher[None]), tl.exp(highest - higher)
        value = _rows_at(values, src, cell, here, D) * relation
        total = total * shrunk + tl.sum(weight, 0)
        sums = sums * shrunk[:, None] + tl.sum(weight[:, :, None] * value, 0)
        highest = higher
    sums = sums / tl.where(total > 0, total, 1.0)[:, None]
    tl.store(gathered + span * D + cell, sums, mask=is_cell)
    tl.store(highests + span * H + h, highest, mask=h < H)
    tl.store(totals + span * H + h, total, mask=h < H)


@triton.jit
def _combine_softmax(
    part: tl.tensor, gathered: tl.tensor, highests: tl.tensor, totals: tl.tensor,
    H: tl.constexpr, W: tl.constexpr, HP: tl.constexpr, WP: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the results of a long row from those of its parts."""
    row, D = tl.program_id(0).to(tl.int64), H * W
    first, last = tl.load(part + row), tl.load(part + row + 1)
    cell, is_cell = _cells(H, W, HP, WP)
    h = tl.arange(0, HP)
    dtype = gathered.dtype.element_ty
    highest = tl.full((HP,), float("-inf"), dtype)
    total, sums = tl.zeros((HP,), dtype), tl.zeros((HP, WP), dtype)
    for span in range(first, last):
        of_span = tl.load(highests + span * H + h, mask=h < H, other=0.0)
        higher = tl.maximum(highest, of_span)
        shrunk = tl.exp(highest - higher)
        weight = tl.exp(of_span - higher) * tl.load(totals + span * H + h, mask=h < H, other=0.0)
        sums = sums * shrunk[:, None] + weight[:, None] * tl.load(
            gathered + span * D + cell, mask=is_cell, other=0.0
        )
        total, highest = total * shrunk + weight, higher
    of_long = h < tl.where(last > first, H, 0)
    sums = sums / tl.where(total > 0, total, 1.0)[:, None]
    tl.store(gathered + row * D + cell, sums, mask=is_cell & of_long[:, None])
    tl.store(highests + row * H + h, highest, mask=of_long)
    tl.store(totals + row * H + h, total, mask=of_long)


@triton.jit
def _to_queries(
    first: tl.tensor, last: tl.tensor, row: tl.tensor, srcs: tl.tensor, relation_rows: tl.tensor,
    keys: tl.tensor, values: tl.tensor, relations: tl.tensor, weights: tl.tensor, gathered: tl.tensor,
    grads: tl.tensor,
    grad_logits: tl.tensor, to_queries: tl.tensor,
    H: tl.constexpr, W: tl.constexpr, HP: tl.constexpr, WP: tl.constexpr, B: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the gradients of the logits [E, H] and of the queries."""
    span, D = tl.program_id(0).to(tl.int64), H * W
    cell, is_cell = _cells(H, W, HP, WP)
    h = tl.arange(0, HP)
    own = tl.load(row + span) * D + cell
    grad = tl.load(grads + own, mask=is_cell, other=0.0)
    # The mean of the slopes, weighted by the attention, is the product with the mean of the values.
    mean = tl.sum(grad * tl.load(gathered + own, mask=is_cell, other=0.0), 1)
    sums = tl.zeros((HP, WP), grad.dtype)
    end = tl.load(last + span)
    for e in range(tl.load(first + span), end, B):
        edge = e + tl.arange(0, B)
        is_edge = edge < end
        here = is_edge[:, None, None] & is_cell[None]
        src = tl.load(srcs + edge, mask=is_edge, other=0)
        relation = _rows_at(relations, tl.load(relation_rows + edge, mask=is_edge, other=0), cell, here, D)
        value = _rows_at(values, src, cell, here, D) * relation
        at, of_edge = edge[:, None] * H + h[None], is_edge[:, None] & (h < H)[None]
        weight = tl.load(weights + at, mask=of_edge, other=0.0)
        slope = tl.sum(grad[None] * value, 2)
        slope = weight * (slope - mean[None]) / tl.sqrt(tl.full((B, HP), W, grad.dtype))
        tl.store(grad_logits + at, slope, mask=of_edge)
        key = _rows_at(keys, src, cell, here, D) * relation
        sums += tl.sum(slope[:, :, None] * key, 0)
    tl.store(to_queries + span * D + cell, sums, mask=is_cell)


@triton.jit
def _to_src(
    first: tl.tensor, last: tl.tensor, edges: tl.tensor, dsts: tl.tensor, relation_rows: tl.tensor,
    queries: tl.tensor, relations: tl.tensor, weights: tl.tensor, grads: tl.tensor, grad_logits: tl.tensor,
    to_keys: tl.tensor, to_values: tl.tensor,
    H: tl.constexpr, W: tl.constexpr, HP: tl.constexpr, WP: tl.constexpr, B: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the gradients of the src nodes' keys and values."""
    span, D = tl.program_id(0).to(tl.int64), H * W
    cell, is_cell = _cells(H, W, HP, WP)
    h = tl.arange(0, HP)
    dtype = grads.dtype.element_ty
    to_key, to_value = tl.zeros((HP, WP), dtype), tl.zeros((HP, WP), dtype)
    end = tl.load(last + span)
    for e in range(tl.load(first + span), end, B):
        position = e + tl.arange(0, B)
        is_edge = position < end
        here = is_edge[:, None, None] & is_cell[None]
        dst = tl.load(dsts + position, mask=is_edge, other=0)
        relation = _rows_at(
            relations, tl.load(relation_rows + position, mask=is_edge, other=0), cell, here, D
        )
        at = tl.load(edges + position, mask=is_edge, other=0)[:, None] * H + h[None]
        of_edge = is_edge[:, None] & (h < H)[None]
        slope = tl.load(grad_logits + at, mask=of_edge, other=0.0)[:, :, None]
        to_key += tl.sum(slope * _rows_at(queries, dst, cell, here, D) * relation, 0)
        weight = tl.load(weights + at, mask=of_edge, other=0.0)[:, :, None]
        to_value += tl.sum(weight * _rows_at(grads, dst, cell, here, D) * relation, 0)
    tl.store(to_keys + span * D + cell, to_key, mask=is_cell)
    tl.store(to_values + span * D + cell, to_value, mask=is_cell)


@triton.jit
def _to_relations(
    first: tl.tensor, last: tl.tensor, edges: tl.tensor, srcs: tl.tensor, dsts: tl.tensor,
    queries: tl.tensor, keys: tl.tensor, values: tl.tensor, weights: tl.tensor, grads: tl.tensor,
    grad_logits: tl.tensor,
    to_relations: tl.tensor,
    H: tl.constexpr, W: tl.constexpr, HP: tl.constexpr, WP: tl.constexpr, B: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the gradients of the relation embeddings, from the edges in the order of relations."""
    span, D = tl.program_id(0).to(tl.int64), H * W
    cell, is_cell = _cells(H, W, HP, WP)
    h = tl.arange(0, HP)
    sums = tl.zeros((HP, WP), grads.dtype.element_ty)
    end = tl.load(last + span)
    for e in range(tl.load(first + span), end, B):
        position = e + tl.arange(0, B)
        is_edge = position < end
        here = is_edge[:, None, None] & is_cell[None]
        edge = tl.load(edges + position, mask=is_edge, other=0)
        src, dst = tl.load(srcs + edge, mask=is_edge, other=0), tl.load(dsts + edge, mask=is_edge, other=0)
        at, of_edge = edge[:, None] * H + h[None], is_edge[:, None] & (h < H)[None]
        slope = tl.load(grad_logits + at, mask=of_edge, other=0.0)[:, :, None]
        sums += tl.sum(slope * _rows_at(queries, dst, cell, here, D) * _rows_at(keys, src, cell, here, D), 0)
        weight = tl.load(weights + at, mask=of_edge, other=0.0)[:, :, None]
        sums += tl.sum(weight * _rows_at(grads, dst, cell, here, D) * _rows_at(values, src, cell, here, D), 0)
    tl.store(to_relations + span * D + cell, sums, mask=is_cell)


@triton.jit
def _sum(
    first: tl.tensor, last: tl.tensor, index: tl.tensor, rows: tl.tensor, out: tl.tensor,
    H: tl.constexpr, W: tl.constexpr, HP: tl.constexpr, WP: tl.constexpr, B: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the sum of the rows at each span's edges."""
    span, D = tl.program_id(0).to(tl.int64), H * W
    cell, is_cell = _cells(H, W, HP, WP)
    sums = tl.zeros((HP, WP), rows.dtype.element_ty)
    end = tl.load(last + span)
    for e in range(tl.load(first + span), end, B):
        edge = e + tl.arange(0, B)
        is_edge = edge < end
        here = is_edge[:, None, None] & is_cell[None]
        sums += tl.sum(_rows_at(rows, tl.load(index + edge, mask=is_edge, other=0), cell, here, D), 0)
    tl.store(out + span * D + cell, sums, mask=is_cell)


@triton.jit
def _add_parts(part: tl.tensor, sums: tl.tensor, D: tl.constexpr, WP: tl.constexpr) -> None:
    """Add up the sums of a long row's parts."""
    row = tl.program_id(0).to(tl.int64)
    first, last = tl.load(part + row), tl.load(part + row + 1)
    d = tl.arange(0, WP)
    total = tl.zeros((WP,), sums.dtype.element_ty)
    for span in range(first, last):
        total += tl.load(sums + span * D + d, mask=d < D, other=0.0)
    tl.store(sums + row * D + d, total, mask=d < tl.where(last > first, D, 0))
