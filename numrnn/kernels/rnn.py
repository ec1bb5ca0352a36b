"""Elman's recurrent network with tanh or relu: its point-wise part and its entry kernels.

Source: Elman 1990. A panel covers four vectors of hidden units, since there is one gate.
"""

from numrnn._jit import CellTag, entry_kernel, inlined_kernel, int64, kernel, parallel_kernel, prange
from numrnn.kernels.activations import tanh
from numrnn.kernels.products import sum_gradients
from numrnn.kernels.recurrence import ONE_STAGE, forward_task
from numrnn.kernels.recurrence_backward import backward_task
from numrnn.kernels.simd import fma, lanes, load, load_tail, maximum, select_less, splat, store, store_tail
from numrnn.kernels.tasks import num_tasks
from numrnn.kernels.tile import FULL, ROW_D_OUTPUT, ROW_FIELDS, ROW_H, ROW_SLAB, ROW_STATE


@kernel
def tanh_of(pre):
    """The activation of `rnn_tanh`."""
    return tanh(pre)


@kernel
def tanh_slope(dh, h):
    """dh times tanh's slope where it gave h."""
    return dh * fma(-h, h, 1.0)


@kernel
def relu_of(pre):
    """The activation of `rnn_relu`; NaN stays NaN."""
    return maximum(pre, 0.0)


@kernel
def relu_slope(dh, h):
    """dh times relu's slope where it gave h: 0 at 0."""
    return select_less(splat(h, 0.0), h, dh, 0.0)


@inlined_kernel
def rnn_epilogue(
    cell, pre, rows, unit, hidden_size, table, row, before, before_field, before_shift,
    cells, cells_field, cells_shift,
    target, target_field, target_shift, region, saved, c_next_shift, gates_shift, keep, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.epilogue`. Equations: reference.rnn_step. Cost: 1 activation a unit."""
    size = lanes(pre)
    for r in range(rows):
        at = table[(row + r) * ROW_FIELDS + target_field] + target_shift + unit
        for v in range(0, min(4 * size, hidden_size - unit), size):
            store_tail(target, at + v, cell.activation(load(pre, r * 4 * size + v)), hidden_size - unit - v)


@kernel
def rnn_epilogue_backward(
    cell, hidden_size, units_from, units_to, table, row, rows, before, before_field, before_shift,
    cells, cells_field, cells_shift,
    output, output_shift, saved, c_next_shift, gates_shift, d_output, d_output_shift, has_d_output,
    arena, d_h, d_c, state_stride, slab, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.epilogue_backward`. Equations: reference.rnn_step_backward. Slab: the one gate."""
    size = lanes(arena)
    for r in range(rows):
        line = (row + r) * ROW_FIELDS
        state_at = d_h + table[line + ROW_STATE] * state_stride
        for unit in range(units_from, units_to, size):
            valid = hidden_size - unit
            dh = load(arena, state_at + unit)
            if has_d_output:
                dh = dh + load_tail(d_output, table[line + ROW_D_OUTPUT] + d_output_shift + unit, valid)
            h = load_tail(output, table[line + ROW_H] + output_shift + unit, valid)
            store(arena, state_at + unit, splat(arena, 0.0))
            store_tail(arena, slab + table[line + ROW_SLAB] + unit, cell.slope(dh, h), valid)


RNN_TANH = CellTag(
    "rnn_tanh",
    sides=FULL,
    epilogue=rnn_epilogue,
    epilogue_backward=rnn_epilogue_backward,
    activation=tanh_of,
    slope=tanh_slope,
    **ONE_STAGE,
)
RNN_RELU = CellTag(
    "rnn_relu",
    sides=FULL,
    epilogue=rnn_epilogue,
    epilogue_backward=rnn_epilogue_backward,
    activation=relu_of,
    slope=relu_slope,
    **ONE_STAGE,
)


@entry_kernel
def rnn_tanh_forward_serial(plan, x, panels, h_0, output, saved, scratch, resets):
    """Contract: `recurrence.forward_task`, for all tasks."""
    for task in range(num_tasks(plan)):
        forward_task(RNN_TANH, task, plan, x, panels, h_0, output, saved, scratch, resets)


@parallel_kernel
def rnn_tanh_forward_parallel(plan, x, panels, h_0, output, saved, scratch, resets):
    """The parallel twin."""
    for task in prange(num_tasks(plan)):
        forward_task(RNN_TANH, int64(task), plan, x, panels, h_0, output, saved, scratch, resets)


@entry_kernel
def rnn_tanh_backward_serial(plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets):
    """Contract: `recurrence_backward.backward_task`, for all tasks, and then `products.sum_gradients`."""
    for task in range(num_tasks(plan)):
        backward_task(RNN_TANH, task, plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets)
    sum_gradients(plan, arena, found)


@parallel_kernel
def rnn_tanh_backward_parallel(plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets):
    """The parallel twin."""
    for task in prange(num_tasks(plan)):
        backward_task(RNN_TANH, int64(task), plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets)


@entry_kernel
def rnn_relu_forward_serial(plan, x, panels, h_0, output, saved, scratch, resets):
    """Contract: `recurrence.forward_task`, for all tasks."""
    for task in range(num_tasks(plan)):
        forward_task(RNN_RELU, task, plan, x, panels, h_0, output, saved, scratch, resets)


@parallel_kernel
def rnn_relu_forward_parallel(plan, x, panels, h_0, output, saved, scratch, resets):
    """The parallel twin."""
    for task in prange(num_tasks(plan)):
        forward_task(RNN_RELU, int64(task), plan, x, panels, h_0, output, saved, scratch, resets)


@entry_kernel
def rnn_relu_backward_serial(plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets):
    """Contract: `recurrence_backward.backward_task`, for all tasks, and then `products.sum_gradients`."""
    for task in range(num_tasks(plan)):
        backward_task(RNN_RELU, task, plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets)
    sum_gradients(plan, arena, found)


@parallel_kernel
def rnn_relu_backward_parallel(plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets):
    """The parallel twin."""
    for task in prange(num_tasks(plan)):
        backward_task(RNN_RELU, int64(task), plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets)
