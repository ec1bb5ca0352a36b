"""Tuples of vectors, as many as a literal says: what a user's own cell is given, and what it gives."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from numrnn.kernels.simd import VECTORS, array_data, emit_cast, emit_load_tail, emit_store_tail


@intrinsic
def load_several(typingctx: Any, array: Any, index: Any, step: Any, count: Any, n: Any) -> Any:
    """A tuple of what `load_tail` gives at `index`, `index` + `step`, ...; `n` is a literal."""
    if not isinstance(n, types.IntegerLiteral):
        return None
    several = types.Tuple([VECTORS[array.dtype]] * n.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data, index, found = array_data(context, builder, sig.args[0], args[0]), args[1], []
        for _ in range(n.literal_value):
            found.append(emit_load_tail(builder, sig.args[0].dtype, data, index, args[3]))
            index = builder.add(index, args[2])
        return context.make_tuple(builder, sig.return_type, found)

    return several(array, types.intp, types.intp, types.intp, n), codegen


@intrinsic
def store_several(typingctx: Any, array: Any, index: Any, step: Any, values: Any, count: Any) -> Any:
    """`store_tail` each value of a tuple, at `index`, `index` + `step`, ...; numbers are repeated."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        dtype, index = sig.args[0].dtype, args[1]
        data = array_data(context, builder, sig.args[0], args[0])
        for k, type_ in enumerate(values):
            value = emit_cast(context, builder, type_, builder.extract_value(args[3], k), dtype)
            emit_store_tail(builder, dtype, data, index, value, args[4])
            index = builder.add(index, args[2])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, values, types.intp), codegen


@intrinsic
def add_several(typingctx: Any, array: Any, index: Any, step: Any, values: Any, count: Any) -> Any:
    """Add each value of a tuple to what stands at `index`, `index` + `step`, ..., as `store_several` finds it."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        dtype, index = sig.args[0].dtype, args[1]
        data = array_data(context, builder, sig.args[0], args[0])
        for k, type_ in enumerate(values):
            value = emit_cast(context, builder, type_, builder.extract_value(args[3], k), dtype)
            sum_ = builder.fadd(emit_load_tail(builder, dtype, data, index, args[4]), value)
            emit_store_tail(builder, dtype, data, index, sum_, args[4])
            index = builder.add(index, args[2])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, values, types.intp), codegen


def result_of(function: Any, dtype: str, counts: tuple[int, ...]) -> Any:
    """Compile a user's function for tuples of so many vectors, 0 being one vector that stands alone as `None` does.

    Returns what it returns: None for a vector or a number, a tuple of the same, or else the name of its type.
    """
    vector = VECTORS[getattr(types, dtype)]
    given = tuple(vector if n is None else types.Tuple([vector] * n) for n in counts)
    function.compile(given)

    def read(type_: Any) -> Any:
        if isinstance(type_, types.BaseTuple):
            return tuple(read(part) for part in type_)
        return None if type_ == vector or isinstance(type_, types.Float | types.Integer) else str(type_)

    return read(function.overloads[given].signature.return_type)
