"""Gated recurrent unit in its original form, reset before the candidate's product: point-wise parts and entry kernels.

Source: Cho et al. 2014. Two stages: r, z and the candidate's input side first; then the candidate's hidden side, r * h.
"""

from numrnn._jit import CellTag, entry_kernel, inlined_kernel, int64, kernel, parallel_kernel, prange
from numrnn.kernels.activations import sigmoid, tanh
from numrnn.kernels.products import sum_gradients
from numrnn.kernels.recurrence import forward_task, no
from numrnn.kernels.recurrence_backward import backward_task
from numrnn.kernels.simd import fma, lanes, load, load_tail, store, store_tail
from numrnn.kernels.tasks import num_tasks
from numrnn.kernels.tile import (
    LATE_CANDIDATE,
    ROW_D_OUTPUT,
    ROW_FIELDS,
    ROW_GATES,
    ROW_H,
    ROW_LOCAL,
    ROW_SLAB,
    ROW_STATE,
)


@inlined_kernel
def before_epilogue(
    cell, pre, rows, unit, hidden_size, table, row, before, before_field, before_shift, cells, cells_field, cells_shift,
    target, target_field, target_shift, region, saved, c_next_shift, gates_shift, keep, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.epilogue`. Regions of `target`: r * h_{t-1}, z, the candidate's input side."""
    size = lanes(pre)
    valid = hidden_size - unit
    for r_ in range(rows):
        line = (row + r_) * ROW_FIELDS
        at = r_ * 4 * size
        r = sigmoid(load(pre, at))
        z = sigmoid(load(pre, at + size))
        h_before = load_tail(before, table[line + before_field] + before_shift + unit, valid)
        to = table[line + target_field] + target_shift + unit
        store_tail(target, to, r * h_before, valid)
        store_tail(target, to + region, z, valid)
        store_tail(target, to + 2 * region, load(pre, at + 2 * size), valid)
        if keep:
            gates_at = table[line + ROW_GATES] + gates_shift + unit
            store_tail(saved, gates_at, r, valid)
            store_tail(saved, gates_at + hidden_size, z, valid)


@inlined_kernel
def before_finish(
    cell, pre, rows, unit, columns, table, row, before, before_field, before_shift,
    operand, operand_shift, region, output, output_shift, saved, gates_shift, keep, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.finish`. Equations: reference.gru_reset_before_step."""
    size = lanes(pre)
    for r_ in range(rows):
        line = (row + r_) * ROW_FIELDS
        for v in range(0, min(4 * size, columns - unit), size):
            at, valid = unit + v, columns - unit - v
            scratch_at = table[line + ROW_LOCAL] + operand_shift + at
            z = load_tail(operand, scratch_at + region, valid)
            n = tanh(load_tail(operand, scratch_at + 2 * region, valid) + load(pre, r_ * 4 * size + v))
            h_before = load_tail(before, table[line + before_field] + before_shift + at, valid)
            store_tail(output, table[line + ROW_H] + output_shift + at, fma(z, h_before, (1.0 - z) * n), valid)
            if keep:
                store_tail(saved, table[line + ROW_GATES] + gates_shift + 2 * columns + at, n, valid)


@kernel
def before_epilogue_backward(
    cell, hidden_size, units_from, units_to, table, row, rows,
    before, before_field, before_shift, cells, cells_field, cells_shift,
    output, output_shift, saved, c_next_shift, gates_shift, d_output, d_output_shift, has_d_output,
    arena, d_h, d_c, state_stride, slab, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.epilogue_backward`: all but r, whose adjoint needs the second stage's. Slab: n r z."""
    size = lanes(arena)
    for r_ in range(rows):
        line = (row + r_) * ROW_FIELDS
        state_at = d_h + table[line + ROW_STATE] * state_stride
        gates_line = table[line + ROW_GATES] + gates_shift
        before_line = table[line + before_field] + before_shift
        slab_line = slab + table[line + ROW_SLAB]
        for unit in range(units_from, units_to, size):
            valid = hidden_size - unit
            z = load_tail(saved, gates_line + hidden_size + unit, valid)
            n = load_tail(saved, gates_line + 2 * hidden_size + unit, valid)
            dh = load(arena, state_at + unit)
            if has_d_output:
                dh = dh + load_tail(d_output, table[line + ROW_D_OUTPUT] + d_output_shift + unit, valid)
            dn = dh * (1.0 - z) * fma(-n, n, 1.0)
            dz = dh * (load_tail(before, before_line + unit, valid) - n) * (z * (1.0 - z))
            store(arena, state_at + unit, dh * z)
            store_tail(arena, slab_line + unit, dn, valid)
            store_tail(arena, slab_line + 2 * hidden_size + unit, dz, valid)


@kernel
def before_operand(
    cell,
    hidden_size,
    units_from,
    units_to,
    table,
    row,
    rows,
    before,
    before_field,
    before_shift,
    saved,
    c_next_shift,
    gates_shift,
    target,
    shift,
):
    """Contract: `recurrence.operand`: r * h_{t-1}."""
    size = lanes(target)
    for r_ in range(rows):
        line = (row + r_) * ROW_FIELDS
        for unit in range(units_from, units_to, size):
            valid = hidden_size - unit
            r = load_tail(saved, table[line + ROW_GATES] + gates_shift + unit, valid)
            h_before = load_tail(before, table[line + before_field] + before_shift + unit, valid)
            store_tail(target, table[line + ROW_LOCAL] + shift + unit, r * h_before, valid)


@kernel
def before_finish_backward(
    cell, hidden_size, units_from, units_to, table, row, rows, before, before_field, before_shift, saved, gates_shift,
    arena, d_h, d_operand, state_stride, slab, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.finish_backward`: r's adjoint, and d_h's part through r * h_{t-1}."""
    size = lanes(arena)
    for r_ in range(rows):
        line = (row + r_) * ROW_FIELDS
        state_at = table[line + ROW_STATE] * state_stride
        for unit in range(units_from, units_to, size):
            valid = hidden_size - unit
            r = load_tail(saved, table[line + ROW_GATES] + gates_shift + unit, valid)
            q = load(arena, d_operand + state_at + unit)
            h_before = load_tail(before, table[line + before_field] + before_shift + unit, valid)
            dr = q * h_before * (r * (1.0 - r))
            store_tail(arena, slab + table[line + ROW_SLAB] + hidden_size + unit, dr, valid)
            store(arena, d_h + state_at + unit, fma(q, r, load(arena, d_h + state_at + unit)))


GRU_RESET_BEFORE = CellTag(
    "gru_reset_before",
    sides=LATE_CANDIDATE,
    epilogue=before_epilogue,
    epilogue_backward=before_epilogue_backward,
    has_c=no,
    finish=before_finish,
    operand=before_operand,
    finish_backward=before_finish_backward,
)


@entry_kernel
def gru_reset_before_forward_serial(plan, x, panels, h_0, output, saved, scratch, resets):
    """Contract: `recurrence.forward_task`, for all tasks."""
    for task in range(num_tasks(plan)):
        forward_task(GRU_RESET_BEFORE, task, plan, x, panels, h_0, output, saved, scratch, resets)


@parallel_kernel
def gru_reset_before_forward_parallel(plan, x, panels, h_0, output, saved, scratch, resets):
    """The parallel twin."""
    for task in prange(num_tasks(plan)):
        forward_task(GRU_RESET_BEFORE, int64(task), plan, x, panels, h_0, output, saved, scratch, resets)


@entry_kernel
def gru_reset_before_backward_serial(plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets):
    """Contract: `recurrence_backward.backward_task`, for all tasks, and then `products.sum_gradients`."""
    for task in range(num_tasks(plan)):
        backward_task(GRU_RESET_BEFORE, task, plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets)
    sum_gradients(plan, arena, found)


@parallel_kernel
def gru_reset_before_backward_parallel(plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets):
    """The parallel twin."""
    for task in prange(num_tasks(plan)):
        backward_task(
            GRU_RESET_BEFORE, int64(task), plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets
        )
