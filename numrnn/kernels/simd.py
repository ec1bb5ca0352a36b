"""A vector of floats as a Numba value, so that kernels read like scalar code.

`Vector(dtype)` holds LANES[dtype] numbers in one machine register. It has `+ - * /` (also with a scalar, which is
cast to the vector's dtype and repeated), unary minus, and the functions below. Lanes follow the CPU that Numba
compiles for, also under NUMBA_CPU_NAME: 16 float32 with AVX-512, 8 with AVX2, 4 otherwise. Values must stay local
variables of one kernel. No operation may assume away NaN or infinities.
"""

from __future__ import annotations

import operator
import platform
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable
from numba.np.arrayobj import populate_array

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)

_PROBE = """
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
define void @probe(ptr %p) {
  %a = load <16 x float>, ptr %p, align 4
  %b = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %a, <16 x float> %a)
  store <16 x float> %b, ptr %p, align 4
  ret void
}
"""


@lru_cache(maxsize=1)
def _target() -> tuple[int, bool]:
    """Bytes of a vector register and whether it multiplies and adds at once: read off the code that LLVM would emit.

    A CPU that is named by NUMBA_CPU_NAME without NUMBA_CPU_FEATURES is taken at its name.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = config.CPU_FEATURES
    if features is None:
        features = "" if config.CPU_NAME else get_host_cpu_features()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=config.CPU_NAME or llvm.get_host_cpu_name(), features=features
    )
    assembly = machine.emit_assembly(llvm.parse_assembly(_PROBE))
    if platform.machine().lower() in ("arm64", "aarch64"):
        return 16, "fmla" in assembly
    width = 64 if "zmm" in assembly else 32 if "ymm" in assembly else 16
    return width, "vfmadd" in assembly


VECTOR_BYTES, HAS_FMA = _target()
LANES = {types.float32: VECTOR_BYTES // 4, types.float64: VECTOR_BYTES // 8}
LANES_NUMPY = {np.dtype("f4"): VECTOR_BYTES // 4, np.dtype("f8"): VECTOR_BYTES // 8}


class Vector(types.Type):
    """The type of a vector of `lanes` numbers of `dtype`."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.lanes = LANES[dtype]
        super().__init__(name=f"Vector({dtype}, {self.lanes})")


FLOAT32, FLOAT64 = Vector(types.float32), Vector(types.float64)
VECTORS = {types.float32: FLOAT32, types.float64: FLOAT64}


def llvm_float(dtype: Any) -> Any:
    """LLVM's type of one number."""
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


def llvm_vector(dtype: Any) -> Any:
    """LLVM's type of a vector of that dtype."""
    return ir.VectorType(llvm_float(dtype), LANES[dtype])


def suffix(dtype: Any) -> str:
    """How LLVM's intrinsics name a vector of that dtype."""
    return f"v{LANES[dtype]}f{32 if dtype == types.float32 else 64}"


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, type_: Vector) -> None:
        super().__init__(manager, type_, llvm_vector(type_.dtype))


# ---- pieces of code generation, also used by the tile


def call(builder: Any, name: str, dtype: Any, *values: Any) -> Any:
    """Call LLVM's vector intrinsic `name` (llvmlite's own declaration rejects vector types)."""
    vector = llvm_vector(dtype)
    signature = ir.FunctionType(vector, [vector] * len(values))
    return builder.call(
        cgutils.get_or_insert_function(builder.module, signature, f"llvm.{name}.{suffix(dtype)}"), values
    )


def emit_fma(builder: Any, dtype: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, with one rounding where the hardware has it (in software it would cost a library call a lane)."""
    return call(builder, "fma", dtype, a, b, c) if HAS_FMA else builder.fadd(builder.fmul(a, b), c)


def emit_splat(builder: Any, dtype: Any, scalar: Any) -> Any:
    """A vector with `scalar` in every lane."""
    vector = llvm_vector(dtype)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, LANES[dtype]), [0] * LANES[dtype]))


def vector_pointer(builder: Any, dtype: Any, base: Any, offset: Any) -> Any:
    """Pointer to the vector that begins `offset` numbers after `base`."""
    return builder.bitcast(builder.gep(base, [offset]), llvm_vector(dtype).as_pointer())


def item_bytes(dtype: Any) -> int:
    """Bytes of one number: the alignment that may be assumed."""
    return 4 if dtype == types.float32 else 8


def array_data(context: Any, builder: Any, type_: Any, value: Any) -> Any:
    """Pointer to an array's first number."""
    return context.make_array(type_)(context, builder, value).data


def is_readable(array: Any, dtype: Any) -> bool:
    """Whether a type is of arrays that kernels for `dtype` can read where they stand."""
    return bool(array.layout == "C" and array.aligned and array.dtype == dtype)


@intrinsic
def readable_view(typingctx: Any, array: Any, copy: Any, was_copied: Any) -> Any:
    """The numbers of `array` along one axis, or of its `copy` where it was copied: nothing is counted."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        given, other = (context.make_array(sig.args[k])(context, builder, args[k]) for k in (0, 1))
        data = other.data
        if is_readable(array, copy.dtype):
            data = builder.select(builder.trunc(args[2], I1), other.data, given.data)
        view = context.make_array(sig.return_type)(context, builder)
        size = ir.Constant(I64, item_bytes(copy.dtype))
        populate_array(view, data, [given.nitems], [size], size, meminfo=None)
        return view._getvalue()

    return types.Array(copy.dtype, 1, "C")(array, copy, was_copied), codegen


def emit_cast(context: Any, builder: Any, type_: Any, value: Any, dtype: Any) -> Any:
    """A vector operand as it is, a scalar one cast and repeated."""
    if isinstance(type_, Vector):
        return value
    return emit_splat(builder, dtype, context.cast(builder, value, type_, dtype))


# ---- operators


def _vector_of(*operands: Any) -> Any:
    """The common vector type of operands of which at least one is a vector; None where there is no such type."""
    vectors = {a for a in operands if isinstance(a, Vector)}
    scalars_fit = all(isinstance(a, (Vector, types.Float, types.Integer)) for a in operands)
    return vectors.pop() if len(vectors) == 1 and scalars_fit else None


def _define_operator(operation: Any, instruction: str) -> None:
    @type_callable(operation)
    def typer(context: Any) -> Any:
        return lambda a, b: _vector_of(a, b)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        dtype = sig.return_type.dtype
        operands = [emit_cast(context, builder, t, v, dtype) for t, v in zip(sig.args, args, strict=True)]
        return getattr(builder, instruction)(*operands)

    for left, right in (
        (Vector, Vector),
        (Vector, types.Float),
        (Vector, types.Integer),
        (types.Float, Vector),
        (types.Integer, Vector),
    ):
        lower_builtin(operation, left, right)(lower)


for _operation, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define_operator(_operation, _instruction)


@type_callable(operator.neg)
def _type_neg(context: Any) -> Any:
    return lambda a: a if isinstance(a, Vector) else None


@lower_builtin(operator.neg, Vector)
def _lower_neg(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.fneg(args[0])


# ---- memory


@intrinsic
def lanes(typingctx: Any, array: Any) -> Any:
    """Lanes of the vectors that fit an array: a constant where the kernel is compiled."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(I64, LANES[sig.args[0].dtype])

    return types.intp(array), codegen


@intrinsic
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """The LANES numbers of `array` from `index` on; any alignment."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        dtype = sig.args[0].dtype
        pointer = vector_pointer(builder, dtype, array_data(context, builder, sig.args[0], args[0]), args[1])
        return builder.load(pointer, align=item_bytes(dtype))

    return VECTORS[array.dtype](array, types.intp), codegen


@intrinsic
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Write LANES numbers to `array` from `index` on; any alignment."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        dtype = sig.args[0].dtype
        pointer = vector_pointer(builder, dtype, array_data(context, builder, sig.args[0], args[0]), args[1])
        builder.store(args[2], pointer, align=item_bytes(dtype))
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


def _mask(builder: Any, dtype: Any, count: Any) -> Any:
    """Lanes below `count`."""
    n = LANES[dtype]
    numbers = ir.Constant(ir.VectorType(I32, n), list(range(n)))
    undefined = ir.Constant(ir.VectorType(I32, n), ir.Undefined)
    first = builder.insert_element(undefined, builder.trunc(count, I32), ir.Constant(I32, 0))
    counts = builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, n), [0] * n))
    return builder.icmp_signed("<", numbers, counts)


@intrinsic
def load_tail(typingctx: Any, array: Any, index: Any, count: Any) -> Any:
    """The first `count` of LANES numbers, 0 in the other lanes, whose memory is not touched."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, sig.args[0], args[0])
        return emit_load_tail(builder, sig.args[0].dtype, data, args[1], args[2])

    return VECTORS[array.dtype](array, types.intp, types.intp), codegen


def emit_load_tail(builder: Any, dtype: Any, data: Any, index: Any, count: Any) -> Any:
    """The code of `load_tail`."""
    vector = llvm_vector(dtype)
    pointer = vector_pointer(builder, dtype, data, index)
    result = cgutils.alloca_once(builder, vector)
    whole = builder.icmp_signed(">=", count, ir.Constant(I64, LANES[dtype]))
    with builder.if_else(whole) as (full, partial):
        with full:
            builder.store(builder.load(pointer, align=item_bytes(dtype)), result)
        with partial:
            signature = ir.FunctionType(vector, [pointer.type, I32, ir.VectorType(I1, LANES[dtype]), vector])
            function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.masked.load.{suffix(dtype)}.p0")
            align = ir.Constant(I32, item_bytes(dtype))
            mask = _mask(builder, dtype, count)
            builder.store(builder.call(function, [pointer, align, mask, ir.Constant(vector, None)]), result)
    return builder.load(result)


@intrinsic
def store_tail(typingctx: Any, array: Any, index: Any, value: Any, count: Any) -> Any:
    """Write the first `count` lanes; the memory behind them is not touched."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, sig.args[0], args[0])
        emit_store_tail(builder, sig.args[0].dtype, data, *args[1:])
        return context.get_dummy_value()

    return types.void(array, types.intp, value, types.intp), codegen


def emit_store_tail(builder: Any, dtype: Any, data: Any, index: Any, value: Any, count: Any) -> None:
    """The code of `store_tail`."""
    pointer = vector_pointer(builder, dtype, data, index)
    whole = builder.icmp_signed(">=", count, ir.Constant(I64, LANES[dtype]))
    with builder.if_else(whole) as (full, partial):
        with full:
            builder.store(value, pointer, align=item_bytes(dtype))
        with partial:
            types_ = [llvm_vector(dtype), pointer.type, I32, ir.VectorType(I1, LANES[dtype])]
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), types_), f"llvm.masked.store.{suffix(dtype)}.p0"
            )
            align = ir.Constant(I32, item_bytes(dtype))
            builder.call(function, [value, pointer, align, _mask(builder, dtype, count)])


# ---- arithmetic


@intrinsic
def splat(typingctx: Any, like: Any, scalar: Any) -> Any:
    """`scalar` in every lane of a vector of the type of `like` (a vector or an array)."""
    vector = like if isinstance(like, Vector) else VECTORS[like.dtype]

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit_cast(context, builder, sig.args[1], args[1], vector.dtype)

    return vector(like, scalar), codegen


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c with one rounding (two where the hardware has no FMA); scalars are repeated."""
    vector = _vector_of(a, b, c)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        operands = [emit_cast(context, builder, t, v, vector.dtype) for t, v in zip(sig.args, args, strict=True)]
        return emit_fma(builder, vector.dtype, *operands)

    return vector(a, b, c), codegen


def _unary(name: str) -> Any:
    def function(typingctx: Any, a: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return call(builder, name, sig.return_type.dtype, args[0])

        return a(a), codegen

    return function


absolute = intrinsic(_unary("fabs"))


@intrinsic
def copysign(typingctx: Any, magnitude: Any, sign: Any) -> Any:
    """`magnitude` with the sign bits of `sign`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call(builder, "copysign", sig.return_type.dtype, *args)

    return magnitude(magnitude, sign), codegen


def _choose(comparison: str) -> Any:
    def function(typingctx: Any, a: Any, bound: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            other = emit_cast(context, builder, sig.args[1], args[1], a.dtype)
            chosen = builder.select(builder.fcmp_ordered(comparison, args[0], other), other, args[0])
            if isinstance(bound, Vector):
                return builder.select(builder.fcmp_unordered("uno", other, other), other, chosen)
            return chosen

        return a(a, bound), codegen

    return function


maximum = intrinsic(_choose("<"))  # max(a, bound); NaN stays
minimum = intrinsic(_choose(">"))  # min(a, bound); NaN stays


@intrinsic
def select_less(typingctx: Any, a: Any, b: Any, if_true: Any, if_false: Any) -> Any:
    """Lane by lane `if_true` where a < b, otherwise (also for NaN) `if_false`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        left, right, yes, no = (emit_cast(context, builder, t, v, a.dtype) for t, v in zip(sig.args, args, strict=True))
        return builder.select(builder.fcmp_ordered("<", left, right), yes, no)

    return a(a, b, if_true, if_false), codegen


@intrinsic
def scale_by_power_of_two(typingctx: Any, value: Any, exponent: Any) -> Any:
    """value * 2**exponent for integral lanes, by adding to the exponent bits: value and result must be normal."""
    single = value.dtype == types.float32
    integers = ir.VectorType(I32 if single else I64, LANES[value.dtype])

    # adding 1.5 * 2**(mantissa bits) leaves the integer in the low bits; a conversion would be undefined for NaN
    magic = 1.5 * 2.0 ** (23 if single else 52)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector, count = llvm_vector(value.dtype), LANES[value.dtype]
        low_bits = builder.bitcast(builder.fadd(args[1], ir.Constant(vector, [magic] * count)), integers)
        steps = builder.shl(low_bits, ir.Constant(integers, [23 if single else 52] * count))
        return builder.bitcast(builder.add(builder.bitcast(args[0], integers), steps), vector)

    return value(value, exponent), codegen


# ---- denormals

_FLUSH_X86 = 0x8040  # flush to zero, denormals are zero
_FLUSH_ARM = 1 << 24
_ARCHITECTURE = {"x86_64": "x86", "amd64": "x86", "arm64": "arm", "aarch64": "arm"}.get(platform.machine().lower())
FLUSHES_DENORMALS = _ARCHITECTURE is not None


def _fence(builder: Any) -> None:
    """Keep memory accesses, and with them the arithmetic between them, on their side of a change of mode."""
    builder.fence("seq_cst", targetscope="singlethread")


@intrinsic
def flush_denormals(typingctx: Any) -> Any:
    """Treat denormal numbers as zero on this thread from here on; returns the mode that `restore_mode` puts back."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if _ARCHITECTURE == "x86":
            slot = cgutils.alloca_once(builder, I32)
            control = ir.FunctionType(ir.VoidType(), [slot.type])
            read = cgutils.get_or_insert_function(builder.module, control, "llvm.x86.sse.stmxcsr")
            write = cgutils.get_or_insert_function(builder.module, control, "llvm.x86.sse.ldmxcsr")
            builder.call(read, [slot])
            before = builder.load(slot)
            builder.store(builder.or_(before, ir.Constant(I32, _FLUSH_X86)), slot)
            builder.call(write, [slot])
            _fence(builder)
            return builder.zext(before, I64)
        if _ARCHITECTURE == "arm":
            read = cgutils.get_or_insert_function(builder.module, ir.FunctionType(I64, []), "llvm.aarch64.get.fpcr")
            write = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), [I64]), "llvm.aarch64.set.fpcr"
            )
            before = builder.call(read, [])
            builder.call(write, [builder.or_(before, ir.Constant(I64, _FLUSH_ARM))])
            _fence(builder)
            return before
        return ir.Constant(I64, 0)

    return types.int64(), codegen


@intrinsic
def restore_mode(typingctx: Any, mode: Any) -> Any:
    """Put back what `flush_denormals` returned."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _fence(builder)
        if _ARCHITECTURE == "x86":
            slot = cgutils.alloca_once(builder, I32)
            builder.store(builder.trunc(args[0], I32), slot)
            control = ir.FunctionType(ir.VoidType(), [slot.type])
            builder.call(cgutils.get_or_insert_function(builder.module, control, "llvm.x86.sse.ldmxcsr"), [slot])
        elif _ARCHITECTURE == "arm":
            write = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), [I64]), "llvm.aarch64.set.fpcr"
            )
            builder.call(write, [args[0]])
        return context.get_dummy_value()

    return types.void(types.int64), codegen
