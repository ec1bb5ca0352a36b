"""The register tile: the one product that everything goes through.

A tile is ROWS rows x 4 vectors of accumulators that stay in registers while k runs: 24 of AVX-512's 32 registers, 12 of
AVX2's 16. A vector of a panel is loaded once and multiplied with each row's number. Every accumulator is one chain of
fused multiply-adds in the order of k, so a row's result depends neither on its neighbours nor on the number of rows.

A panel is a strip of weights, packed so that it is read front to back: for each k the vectors that this k feeds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from numrnn._jit import CellTag, inlined_kernel, kernel
from numrnn.kernels.simd import (
    I64,
    LANES,
    VECTOR_BYTES,
    array_data,
    emit_fma,
    emit_splat,
    item_bytes,
    llvm_vector,
    vector_pointer,
)

VECTORS = 4
ROWS = 6 if VECTOR_BYTES == 64 else 3

# Accumulators that the x side and the h side of a product feed. The GRU's candidate multiplies r with the hidden side
# only, so its two sides meet in three different vectors each: r z n_x and r z n_h.
# Where its reset comes before the product, the candidate has no hidden side in the first stage.
# Cells of other numbers of gates: three of one kind; a gate and a candidate, split or late (two vectors of units each).
SIDES = {
    0: ((0, 1, 2, 3), (0, 1, 2, 3)), 1: ((0, 1, 2), (0, 1, 3)), 2: ((0, 1, 2), (0, 1)),
    3: ((0, 1, 2), (0, 1, 2)), 4: ((0, 1), (0, 2)), 5: ((0, 1, 2, 3), (0, 1)), 6: ((0, 1, 2, 3), (0, 1, 2)),
}  # fmt: skip
FULL, SPLIT_CANDIDATE, LATE_CANDIDATE, THREE, SPLIT_OF_TWO, LATE_OF_TWO, LATE_OF_FOUR = range(7)
EVERY_SUM = CellTag("every_sum", sides=FULL)

# The table of rows: one line of int64 a sequence, offsets counted in numbers from each array's begin.
# NumPy integers: for each value of a Python one, Numba would compile what it is passed to once more.
NONE = np.int64(0)
ROW_FIELDS = 16
(
    ROW_X, ROW_H, ROW_H_0, ROW_C, ROW_GATES, ROW_LENGTH, ROW_D_OUTPUT, ROW_D_X, ROW_RANK, ROW_SLAB, ROW_SLAB_2,
    ROW_STATE, ROW_LOCAL, ROW_RESET,
) = np.arange(14)  # fmt: skip


def _accumulate(
    builder: Any, dtype: Any, acc: Any, vectors: Any, rows: Any, steps: Any, stride: Any, panels: Any
) -> None:
    """Run k over `steps`: acc[p, r][v] += rows[r][k * stride] * panels[p][k][v], for the accumulators `vectors`.

    acc   one line for each panel and row, panels first
    """
    width = len(vectors) * LANES[dtype]
    with cgutils.for_range(builder, steps, intp=I64) as loop:
        line = builder.mul(loop.index, ir.Constant(I64, width))
        b = [
            [
                builder.load(
                    vector_pointer(builder, dtype, panel, builder.add(line, ir.Constant(I64, i * LANES[dtype]))),
                    align=item_bytes(dtype),
                )
                for i in range(len(vectors))
            ]
            for panel in panels
        ]
        offset = builder.mul(loop.index, ir.Constant(I64, stride))
        for r, row in enumerate(rows):
            a = emit_splat(builder, dtype, builder.load(builder.gep(row, [offset])))
            for p in range(len(panels)):
                slots = acc[p * len(rows) + r]
                for i, v in enumerate(vectors):
                    builder.store(emit_fma(builder, dtype, a, b[p][i], builder.load(slots[v])), slots[v])


def _write(builder: Any, dtype: Any, acc: Any, target: Any, stride: Any) -> None:
    """Store the accumulators, rows `stride` apart."""
    for r, row in enumerate(acc):
        line = builder.mul(stride, ir.Constant(I64, r))
        for v, slot in enumerate(row):
            pointer = vector_pointer(builder, dtype, target, builder.add(line, ir.Constant(I64, v * LANES[dtype])))
            builder.store(builder.load(slot), pointer, align=item_bytes(dtype))


def _each_case(builder: Any, value: Any, largest: int, emit: Any) -> None:
    """Straight-line code for each value from `largest` down to 1."""
    for case in range(largest, 0, -1):
        with builder.if_then(builder.icmp_signed("==", value, ir.Constant(I64, case))):
            emit(case)


@intrinsic
def _tile(
    typingctx: Any, sides: Any, rows: Any, pre: Any, pre_offset: Any, pre_stride: Any,
    start: Any, start_offset: Any, start_stride: Any, table: Any, row: Any,
    x: Any, x_field: Any, x_shift: Any, x_steps: Any, h: Any, h_field: Any, h_shift: Any, h_steps: Any,
    panel: Any, panel_offset: Any,
) -> Any:  # fmt: skip
    """The code of `full_product` and `product`; `sides` is a literal."""
    if not isinstance(sides, types.IntegerLiteral):
        return None
    x_vectors, h_vectors = SIDES[sides.literal_value]
    i = types.intp
    signature = types.void(sides, i, pre, i, i, start, i, i, table, i, x, i, i, i, h, i, i, i, panel, i)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        dtype = sig.args[2].dtype
        (_, rows, pre, pre_offset, pre_stride, start, start_offset, start_stride, table, row) = args[:10]
        (x, x_field, x_shift, x_steps, h, h_field, h_shift, h_steps, panel, panel_offset) = args[10:]
        pre, start, table, x, h, panel = (
            array_data(context, builder, sig.args[n], args[n]) for n in (2, 5, 8, 10, 14, 18)
        )
        x_panel = builder.gep(panel, [panel_offset])
        x_width = ir.Constant(I64, len(x_vectors) * LANES[dtype])
        h_panel = builder.gep(x_panel, [builder.mul(x_steps, x_width)])

        def line_starts(n_rows: int, array: Any, field: Any, shift: Any) -> Any:
            starts = []
            for r in range(n_rows):
                line = builder.mul(builder.add(row, ir.Constant(I64, r)), ir.Constant(I64, ROW_FIELDS))
                offset = builder.load(builder.gep(table, [builder.add(line, field)]))
                starts.append(builder.gep(array, [builder.add(offset, shift)]))
            return starts

        def emit(n_rows: int) -> None:
            acc = [[cgutils.alloca_once(builder, llvm_vector(dtype)) for _ in range(VECTORS)] for _ in range(n_rows)]
            for r in range(n_rows):
                offset = builder.add(start_offset, builder.mul(start_stride, ir.Constant(I64, r)))
                for v in range(VECTORS):
                    at = builder.add(offset, ir.Constant(I64, v * LANES[dtype]))
                    pointer = vector_pointer(builder, dtype, start, at)
                    builder.store(builder.load(pointer, align=item_bytes(dtype)), acc[r][v])
            x_rows = line_starts(n_rows, x, x_field, x_shift)
            _accumulate(builder, dtype, acc, x_vectors, x_rows, x_steps, 1, [x_panel])
            h_rows = line_starts(n_rows, h, h_field, h_shift)
            _accumulate(builder, dtype, acc, h_vectors, h_rows, h_steps, 1, [h_panel])
            _write(builder, dtype, acc, builder.gep(pre, [pre_offset]), pre_stride)

        _each_case(builder, rows, ROWS, emit)
        return context.get_dummy_value()

    return signature, codegen


@kernel
def full_product(
    rows, pre, pre_offset, pre_stride, start, start_offset, start_stride, table, row,
    x, x_field, x_shift, x_steps, h, h_field, h_shift, h_steps, panel, panel_offset,
):  # fmt: skip
    """pre[r] = start[r] + x_r @ panel[:x_steps] + h_r @ panel[x_steps:] for `rows` rows and 4 vectors of columns.

    rows                 1 to ROWS
    pre                  written    4 vectors at pre_offset + r * pre_stride; may be `start`
    start                read       4 vectors at start_offset + r * start_stride: biases (stride 0) or earlier sums
    table                read       line row + r holds the offset of x_r in field x_field, of h_r in field h_field
    x, h                 read       x_r = x[offset + x_shift:][:x_steps], likewise h; never read beyond
    panel                read       from panel_offset on: x_steps lines of the x side, then h_steps of the h side
    """
    _tile(
        FULL, rows, pre, pre_offset, pre_stride, start, start_offset, start_stride, table, row,
        x, x_field, x_shift, x_steps, h, h_field, h_shift, h_steps, panel, panel_offset,
    )  # fmt: skip


@kernel
def product(
    cell, rows, pre, pre_offset, pre_stride, start, start_offset, start_stride, table, row,
    x, x_field, x_shift, x_steps, h, h_field, h_shift, h_steps, panel, panel_offset,
):  # fmt: skip
    """`full_product` where each side feeds the sums that `cell.sides` says (`SIDES`)."""
    _tile(
        cell.sides, rows, pre, pre_offset, pre_stride, start, start_offset, start_stride, table, row,
        x, x_field, x_shift, x_steps, h, h_field, h_shift, h_steps, panel, panel_offset,
    )  # fmt: skip


@intrinsic
def _row_tile(
    typingctx: Any, sides: Any, n_panels: Any, pre: Any, x: Any, x_at: Any, x_steps: Any, h: Any, h_at: Any,
    h_steps: Any, panel: Any, panel_at: Any, panel_size: Any,
) -> Any:  # fmt: skip
    """The code of `row_product`; `sides` and `n_panels` are literals."""
    if not isinstance(sides, types.IntegerLiteral) or not isinstance(n_panels, types.IntegerLiteral):
        return None
    x_vectors, h_vectors = SIDES[sides.literal_value]
    n = n_panels.literal_value
    i = types.intp
    signature = types.void(sides, n_panels, pre, x, i, i, h, i, i, panel, i, i)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        dtype = sig.args[2].dtype
        (_, _, pre, x, x_at, x_steps, h, h_at, h_steps, panel, panel_at, panel_size) = args
        pre, x, h, panel = (array_data(context, builder, sig.args[k], args[k]) for k in (2, 3, 6, 9))
        acc = [[cgutils.alloca_once(builder, llvm_vector(dtype)) for _ in range(VECTORS)] for _ in range(n)]
        line = ir.Constant(I64, VECTORS * LANES[dtype])
        x_panels = []
        for p in range(n):
            start = builder.gep(panel, [builder.add(panel_at, builder.mul(panel_size, ir.Constant(I64, p)))])
            for v, slot in enumerate(acc[p]):
                pointer = vector_pointer(builder, dtype, start, ir.Constant(I64, v * LANES[dtype]))
                builder.store(builder.load(pointer, align=item_bytes(dtype)), slot)
            x_panels.append(builder.gep(start, [line]))
        x_size = builder.mul(x_steps, ir.Constant(I64, len(x_vectors) * LANES[dtype]))
        h_panels = [builder.gep(each, [x_size]) for each in x_panels]
        _accumulate(builder, dtype, acc, x_vectors, [builder.gep(x, [x_at])], x_steps, 1, x_panels)
        _accumulate(builder, dtype, acc, h_vectors, [builder.gep(h, [h_at])], h_steps, 1, h_panels)
        _write(builder, dtype, acc, pre, line)
        return context.get_dummy_value()

    return signature, codegen


@inlined_kernel
def row_product(cell, panels, pre, x, x_at, x_steps, h, h_at, h_steps, panel, panel_at, panel_size):
    """`product` of one row, with one panel or two at once: twice as many sums to run while each waits for itself.

    panels   1 or 2: from panel_at on and `panel_size` numbers further, each led by what its sums start from
    pre      written   4 vectors a panel, from the array's begin
    x, h     read      x[x_at:][:x_steps], likewise h
    """
    if panels == 2:
        _row_tile(cell.sides, 2, pre, x, x_at, x_steps, h, h_at, h_steps, panel, panel_at, panel_size)
    else:
        _row_tile(cell.sides, 1, pre, x, x_at, x_steps, h, h_at, h_steps, panel, panel_at, panel_size)


@intrinsic
def _outer_tile(
    typingctx: Any, vectors: Any, pre: Any, left: Any, left_offset: Any, right: Any, right_offset: Any, steps: Any
) -> Any:
    """The code of `outer_product`."""
    i = types.intp

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        dtype = sig.args[1].dtype
        vectors, pre, left, left_offset, right, right_offset, steps = args
        pre, left, right = (array_data(context, builder, sig.args[n], args[n]) for n in (1, 2, 4))
        rows = [builder.gep(left, [builder.add(left_offset, ir.Constant(I64, r))]) for r in range(ROWS)]
        first_line = builder.gep(right, [right_offset])

        def emit(n_vectors: int) -> None:
            acc = [[cgutils.alloca_once(builder, llvm_vector(dtype)) for _ in range(n_vectors)] for _ in range(ROWS)]
            for line in acc:
                for slot in line:
                    builder.store(ir.Constant(llvm_vector(dtype), None), slot)
            _accumulate(builder, dtype, acc, range(n_vectors), rows, steps, ROWS, [first_line])
            _write(builder, dtype, acc, pre, ir.Constant(I64, n_vectors * LANES[dtype]))

        _each_case(builder, vectors, VECTORS, emit)
        return context.get_dummy_value()

    return types.void(i, pre, left, i, right, i, i), codegen


@kernel
def outer_product(vectors, pre, left, left_offset, right, right_offset, steps):
    """pre = left^T @ right: ROWS x `vectors` vectors, both operands packed line by line of k.

    vectors   1 to 4
    pre       written   ROWS x vectors x LANES, from the array's begin
    left      read      steps x ROWS numbers from left_offset on
    right     read      steps x vectors x LANES numbers from right_offset on
    """
    _outer_tile(vectors, pre, left, left_offset, right, right_offset, steps)
