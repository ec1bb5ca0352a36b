"""Long short-term memory: its point-wise part and its entry kernels.

Source: Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000, section 3.
"""

from numrnn._jit import CellTag, entry_kernel, int64, kernel, parallel_kernel, prange
from numrnn.kernels.activations import sigmoid, tanh
from numrnn.kernels.recurrence import backward_task, forward_task, num_tasks
from numrnn.kernels.simd import fma, lanes, load, load_tail, splat, store, store_tail
from numrnn.kernels.tile import ROW_C, ROW_D_OUTPUT, ROW_FIELDS, ROW_GATES, ROW_H, ROW_SLAB, ROW_STATE, full_product


@kernel
def lstm_epilogue(
    pre, rows, unit, hidden_size, table, row, before, before_field, before_shift,
    output, output_shift, saved, c_shift, c_next_shift, gates_shift, keep,
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
        c_at = table[line + ROW_C] + unit
        c = fma(f, load_tail(saved, c_at + c_shift, valid), i * g)
        store_tail(saved, c_at + c_next_shift, c, valid)
        store_tail(output, table[line + ROW_H] + output_shift + unit, o * tanh(c), valid)
        if keep:
            gates_at = table[line + ROW_GATES] + gates_shift + unit
            store_tail(saved, gates_at, i, valid)
            store_tail(saved, gates_at + hidden_size, f, valid)
            store_tail(saved, gates_at + 2 * hidden_size, g, valid)
            store_tail(saved, gates_at + 3 * hidden_size, o, valid)


@kernel
def lstm_epilogue_backward(
    hidden_size, table, row, rows, before, before_field, before_shift, output, output_shift,
    saved, c_shift, c_next_shift, gates_shift, d_output, d_output_shift, has_d_output,
    arena, d_h, d_c, state_stride, slab,
):  # fmt: skip
    """Contract: `recurrence.epilogue_backward`. Equations: reference.lstm_step_backward. Slab: i f g o."""
    size = lanes(arena)
    for r in range(rows):
        line = (row + r) * ROW_FIELDS
        state_at = table[line + ROW_STATE] * state_stride
        c_line = table[line + ROW_C]
        gates_line = table[line + ROW_GATES] + gates_shift
        slab_line = slab + table[line + ROW_SLAB]
        for unit in range(0, hidden_size, size):
            valid = hidden_size - unit
            i = load_tail(saved, gates_line + unit, valid)
            f = load_tail(saved, gates_line + hidden_size + unit, valid)
            g = load_tail(saved, gates_line + 2 * hidden_size + unit, valid)
            o = load_tail(saved, gates_line + 3 * hidden_size + unit, valid)
            c_before = load_tail(saved, c_line + c_shift + unit, valid)
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


LSTM = CellTag("lstm", product=full_product, epilogue=lstm_epilogue, epilogue_backward=lstm_epilogue_backward)


@entry_kernel
def lstm_forward_serial(plan, x, panels, h_0, output, saved, scratch):
    """Contract: `recurrence.forward_task`, for all tasks."""
    for task in range(num_tasks(plan)):
        forward_task(LSTM, task, plan, x, panels, h_0, output, saved, scratch)


@parallel_kernel
def lstm_forward_parallel(plan, x, panels, h_0, output, saved, scratch):
    """The parallel twin."""
    for task in prange(num_tasks(plan)):
        forward_task(LSTM, int64(task), plan, x, panels, h_0, output, saved, scratch)


@entry_kernel
def lstm_backward_serial(plan, x, panels, h_0, output, saved, d_output, d_x, arena):
    """Contract: `recurrence.backward_task`, for all tasks."""
    for task in range(num_tasks(plan)):
        backward_task(LSTM, task, plan, x, panels, h_0, output, saved, d_output, d_x, arena)


@parallel_kernel
def lstm_backward_parallel(plan, x, panels, h_0, output, saved, d_output, d_x, arena):
    """The parallel twin."""
    for task in prange(num_tasks(plan)):
        backward_task(LSTM, int64(task), plan, x, panels, h_0, output, saved, d_output, d_x, arena)
