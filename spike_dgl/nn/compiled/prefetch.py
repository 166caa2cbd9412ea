"""Prefetching for compiled loops, which numba does not offer."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from spike_dgl.nn.compiled.lanes import start_of_row

AHEAD = 8
"""Number of edges to prefetch ahead."""
LINE = 64
"""Bytes in a cache line."""
READ, KEEP, DATA = 0, 3, 1  # from the LLVM language reference


def _prefetch(_: Any, array: Any, row: Any, width: Any) -> Any:  # noqa: ARG001  (numba's signature)
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, word = ir.IntType(8), ir.IntType(32)
        pointer = byte.as_pointer()
        hint = builder.module.declare_intrinsic(
            "llvm.prefetch", [pointer], ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        )
        start = start_of_row(context, builder, signature.args[0], arguments)
        for offset in range(0, width.literal_value * array.dtype.bitwidth // 8, LINE):
            line = builder.gep(start, [ir.IntType(64)(offset)])
            builder.call(hint, [line, *(word(flag) for flag in (READ, KEEP, DATA))])
        return context.get_dummy_value()

    return types.void(array, types.intp, width), generate


prefetch: Any = intrinsic(prefer_literal=True)(_prefetch)
"""``prefetch(array, row, width)``: start loading the first `width` numbers of a row into the cache.

Rows are read in the order of edges, which the processor cannot predict. Without prefetching, every row would be a
cache miss on graphs larger than the cache.
"""
