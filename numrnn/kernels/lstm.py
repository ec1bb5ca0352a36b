"""Long short-term memory: its point-wise part and its entry kernels.

Source: Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000, section 3.
"""

from numrnn._jit import CellTag, entry_kernel, inlined_kernel, int64, kernel, parallel_kernel, prange
from numrnn.kernels.activations import sigmoid, tanh
from numrnn.kernels.products import sum_gradients
from numrnn.kernels.recurrence import forward_task, no_finish_backward, yes
from numrnn.kernels.recurrence_backward import backward_task
from numrnn.kernels.simd import fma, lanes, load, load_tail, splat, store, store_tail
from numrnn.kernels.tasks import num_tasks
from numrnn.kernels.tile import (
    FULL,
    ROW_C,
    ROW_D_OUTPUT,
    ROW_FIELDS,
    ROW_GATES,
    ROW_H,
    ROW_LOCAL,
    ROW_SLAB,
    ROW_STATE,
)


@inlined_kernel
def lstm_epilogue(
    cell, pre, rows, unit, hidden_size, table, row, before, before_field, before_shift, cells, cells_field, cells_shift,
    target, target_field, target_shift, region, saved, c_next_shift, gates_shift, keep, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.epilogue`. Equations: reference.lstm_step. Cost: 5 activations a unit."""
    size = lanes(pre)
    valid = hidden_size - unit
    for r in range(rows):
        line = (row + r) * ROW_FIELDS
        at = r * 4 * size
        i = sigmoid(load(pre, at))
        f = sigmoid(load(pre, at + size))
        g = tanh(load(pre, at + 2 * size))
        o = sigmoid(load(pre, at + 3 * size))
        c = fma(f, load_tail(cells, table[line + cells_field] + cells_shift + unit, valid), i * g)
        store_tail(saved, table[line + ROW_C] + c_next_shift + unit, c, valid)
        store_tail(target, table[line + target_field] + target_shift + unit, o * tanh(c), valid)
        if keep:
            gates_at = table[line + ROW_GATES] + gates_shift + unit
            store_tail(saved, gates_at, i, valid)
            store_tail(saved, gates_at + hidden_size, f, valid)
            store_tail(saved, gates_at + 2 * hidden_size, g, valid)
            store_tail(saved, gates_at + 3 * hidden_size, o, valid)


@kernel
def lstm_epilogue_backward(
    cell, hidden_size, units_from, units_to, table, row, rows,
    before, before_field, before_shift, cells, cells_field, cells_shift,
    output, output_shift, saved, c_next_shift, gates_shift, d_output, d_output_shift, has_d_output,
    arena, d_h, d_c, state_stride, slab, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.epilogue_backward`. Equations: reference.lstm_step_backward. Slab: i f g o."""
    size = lanes(arena)
    for r in range(rows):
        line = (row + r) * ROW_FIELDS
        state_at = table[line + ROW_STATE] * state_stride
        c_line = table[line + ROW_C]
        gates_line = table[line + ROW_GATES] + gates_shift
        slab_line = slab + table[line + ROW_SLAB]
        for unit in range(units_from, units_to, size):
            valid = hidden_size - unit
            i = load_tail(saved, gates_line + unit, valid)
            f = load_tail(saved, gates_line + hidden_size + unit, valid)
            g = load_tail(saved, gates_line + 2 * hidden_size + unit, valid)
            o = load_tail(saved, gates_line + 3 * hidden_size + unit, valid)
            c_before = load_tail(cells, table[line + cells_field] + cells_shift + unit, valid)
            tanh_c = tanh(load_tail(saved, c_line + c_next_shift + unit, valid))
            dh = load(arena, d_h + state_at + unit)
            if has_d_output:
                dh = dh + load_tail(d_output, table[line + ROW_D_OUTPUT] + d_output_shift + unit, valid)
            dc = load(arena, d_c + state_at + unit)
            dc = fma(dh * o, fma(-tanh_c, tanh_c, 1.0), dc)
            store(arena, d_h + state_at + unit, splat(arena, 0.0))
            store(arena, d_c + state_at + unit, dc * f)
            at = slab_line + unit
            store_tail(arena, at, dc * g * (i * (1.0 - i)), valid)
            store_tail(arena, at + hidden_size, dc * c_before * (f * (1.0 - f)), valid)
            store_tail(arena, at + 2 * hidden_size, dc * i * fma(-g, g, 1.0), valid)
            store_tail(arena, at + 3 * hidden_size, dh * tanh_c * (o * (1.0 - o)), valid)


@inlined_kernel
def lstm_finish(
    cell, pre, rows, unit, columns, table, row, before, before_field, before_shift,
    operand, operand_shift, region, output, output_shift, saved, gates_shift, keep, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.finish`: the projection is h_t."""
    size = lanes(pre)
    for r in range(rows):
        at = table[(row + r) * ROW_FIELDS + ROW_H] + output_shift + unit
        for v in range(0, min(4 * size, columns - unit), size):
            store_tail(output, at + v, load(pre, r * 4 * size + v), columns - unit - v)


@kernel
def lstm_operand(
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
    """Contract: `recurrence.operand`: o * tanh(c), what the projection multiplied."""
    size = lanes(target)
    for r in range(rows):
        line = (row + r) * ROW_FIELDS
        for unit in range(units_from, units_to, size):
            valid = hidden_size - unit
            o = load_tail(saved, table[line + ROW_GATES] + gates_shift + 3 * hidden_size + unit, valid)
            c = load_tail(saved, table[line + ROW_C] + c_next_shift + unit, valid)
            store_tail(target, table[line + ROW_LOCAL] + shift + unit, o * tanh(c), valid)


LSTM = CellTag(
    "lstm",
    sides=FULL,
    epilogue=lstm_epilogue,
    epilogue_backward=lstm_epilogue_backward,
    has_c=yes,
    finish=lstm_finish,
    operand=lstm_operand,
    finish_backward=no_finish_backward,
)


@entry_kernel
def lstm_forward_serial(plan, x, panels, h_0, output, saved, scratch, resets):
    """Contract: `recurrence.forward_task`, for all tasks."""
    for task in range(num_tasks(plan)):
        forward_task(LSTM, task, plan, x, panels, h_0, output, saved, scratch, resets)


@parallel_kernel
def lstm_forward_parallel(plan, x, panels, h_0, output, saved, scratch, resets):
    """The parallel twin."""
    for task in prange(num_tasks(plan)):
        forward_task(LSTM, int64(task), plan, x, panels, h_0, output, saved, scratch, resets)


@entry_kernel
def lstm_backward_serial(plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets):
    """Contract: `recurrence_backward.backward_task`, for all tasks, and then `products.sum_gradients`."""
    for task in range(num_tasks(plan)):
        backward_task(LSTM, task, plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets)
    sum_gradients(plan, arena, found)


@parallel_kernel
def lstm_backward_parallel(plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets):
    """The parallel twin."""
    for task in prange(num_tasks(plan)):
        backward_task(LSTM, int64(task), plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets)
