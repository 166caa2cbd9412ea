"""Vectors in compiled loops: whole rows in the processor's vector registers.

numba loops over single numbers; LLVM then keeps sums in memory and does not vectorise heads of 32 numbers well. A
value of the type `Lanes` is one LLVM vector of constant length, so that
``total += load(rows, i, 64) * load(others, j, 64)`` compiles to the few multiply-add instructions for 64 numbers.

All functions here are for compiled loops only, and widths must be constants.
"""

# ruff: noqa: ARG001  (numba passes all arguments of a call, also unused ones)
from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic, overload, register_model

from spike_dgl.nn.compiled.compilation import FREEDOM

LANE = ir.IntType(32)


class Lanes(types.Type):
    """Vector type of `width` numbers.

    Parameters
    ----------
    dtype
        numba's ``float32`` or ``float64``.
    width
        Number of lanes.
    """

    def __init__(self, dtype: Any, width: int) -> None:
        self.dtype, self.width = dtype, width
        super().__init__(name=f"Lanes({dtype}, {width})")


@register_model(Lanes)
class _LanesModel(PrimitiveModel):
    def __init__(self, models: Any, lanes: Lanes) -> None:
        number = models.lookup(lanes.dtype).get_value_type()
        super().__init__(models, lanes, ir.VectorType(number, lanes.width))  # type: ignore[no-untyped-call]


def _load(_: Any, array: Any, row: Any, width: Any) -> Any:
    lanes = Lanes(array.dtype, width.literal_value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = _lanes_of_row(context, builder, signature.args[0], arguments, lanes)
        return builder.load(start, align=_alignment(array))

    return lanes(array, types.intp, width), generate


def _store(_: Any, array: Any, row: Any, lanes: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = _lanes_of_row(context, builder, signature.args[0], arguments, lanes)
        builder.store(arguments[2], start, align=_alignment(array))
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


def _filled(_: Any, number: Any, width: Any) -> Any:
    lanes = Lanes(number, width.literal_value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        one = builder.insert_element(_undefined(context, lanes), arguments[0], LANE(0))
        return _shuffled(builder, one, (0 for _ in range(lanes.width)))

    return lanes(number, width), generate


def _repeated(_: Any, lanes: Any, width: Any) -> Any:
    wide = Lanes(lanes.dtype, width.literal_value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        each = wide.width // lanes.width
        return _shuffled(builder, arguments[0], (lane // each for lane in range(wide.width)))

    return wide(lanes, width), generate


def _sums(_: Any, lanes: Any, parts: Any) -> Any:
    few = Lanes(lanes.dtype, parts.literal_value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        each = lanes.width // few.width
        part_type = context.get_value_type(Lanes(lanes.dtype, each))
        add_up = builder.module.declare_intrinsic(
            f"llvm.vector.reduce.fadd.v{each}f{lanes.dtype.bitwidth}",
            fnty=ir.FunctionType(part_type.element, [part_type.element, part_type]),
        )
        sums = _undefined(context, few)
        for part in range(few.width):
            numbers = _shuffled(builder, arguments[0], range(part * each, part * each + each))
            total = builder.call(add_up, [part_type.element(-0.0), numbers], fastmath=FREEDOM)
            sums = builder.insert_element(sums, total, LANE(part))
        return sums

    return few(lanes, parts), generate


def _larger(_: Any, one: Any, other: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *arguments), *arguments)

    return one(one, other), generate


def start_of_row(context: Any, builder: Any, array_type: Any, arguments: Any) -> Any:
    """Return a byte pointer to the start of a row, for intrinsics whose first arguments are an array and a row.

    numba's own indexing would check every row index for being negative.
    """
    view = context.make_array(array_type)(context, builder, arguments[0])
    stride = builder.extract_value(view.strides, 0)
    data = builder.bitcast(view.data, ir.IntType(8).as_pointer())
    return builder.gep(data, [builder.mul(arguments[1], stride)])


load: Any = intrinsic(prefer_literal=True)(_load)
"""``load(array, row, width)``: load the first `width` numbers of a row."""
store: Any = intrinsic(_store)
"""``store(array, row, lanes)``: store lanes at the start of a row."""
filled: Any = intrinsic(prefer_literal=True)(_filled)
"""``filled(number, width)``: the same number in all lanes."""
repeated: Any = intrinsic(prefer_literal=True)(_repeated)
"""``repeated(lanes, width)``: repeat each number to fill `width` lanes, such as a head's weight."""
sums: Any = intrinsic(prefer_literal=True)(_sums)
"""``sums(lanes, parts)``: `parts` sums, each over an equal part of the lanes."""
larger: Any = intrinsic(_larger)
"""``larger(one, other)``: maximum, lane by lane."""


def _arithmetic(instruction: str) -> Any:
    def lane_by_lane(_: Any, one: Any, other: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments, flags=FREEDOM)

        return one(one, other), generate

    return intrinsic(lane_by_lane)


def _add_operator(symbol: Callable[[Any, Any], Any], instruction: str) -> None:
    compute = _arithmetic(instruction)

    @overload(symbol, strict=False)
    def _of_lanes(one: Any, other: Any) -> Any:
        if isinstance(one, Lanes) and isinstance(other, Lanes):
            return lambda one, other: compute(one, other)
        return None


_add_operator(operator.add, "fadd")
_add_operator(operator.iadd, "fadd")
_add_operator(operator.sub, "fsub")
_add_operator(operator.mul, "fmul")
_add_operator(operator.truediv, "fdiv")


def _lanes_of_row(context: Any, builder: Any, array_type: Any, arguments: Any, lanes: Lanes) -> Any:
    start = start_of_row(context, builder, array_type, arguments)
    return builder.bitcast(start, context.get_value_type(lanes).as_pointer())


def _alignment(array: Any) -> int:
    return int(array.dtype.bitwidth) // 8


def _undefined(context: Any, lanes: Lanes) -> Any:
    return ir.Constant(context.get_value_type(lanes), ir.Undefined)


def _shuffled(builder: Any, vector: Any, lanes: Iterable[int]) -> Any:
    order = list(lanes)
    chosen = ir.Constant(ir.VectorType(LANE, len(order)), order)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), chosen)
