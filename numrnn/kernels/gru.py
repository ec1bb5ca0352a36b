"""Gated recurrent unit, reset after the recurrent product: its point-wise part and its entry kernels.

Source: Cho et al. 2014; the form whose reset gate follows the product: Appleyard et al. 2016, section 3.
"""

from numrnn._jit import CellTag, entry_kernel, inlined_kernel, int64, kernel, parallel_kernel, prange
from numrnn.kernels.activations import sigmoid, tanh
from numrnn.kernels.products import sum_gradients
from numrnn.kernels.recurrence import ONE_STAGE, forward_task
from numrnn.kernels.recurrence_backward import backward_task
from numrnn.kernels.simd import fma, lanes, load, load_tail, store, store_tail
from numrnn.kernels.tasks import num_tasks
from numrnn.kernels.tile import ROW_D_OUTPUT, ROW_FIELDS, ROW_GATES, ROW_SLAB, ROW_STATE, SPLIT_CANDIDATE


@inlined_kernel
def gru_epilogue(
    cell, pre, rows, unit, hidden_size, table, row, before, before_field, before_shift, cells, cells_field, cells_shift,
    target, target_field, target_shift, region, saved, c_next_shift, gates_shift, keep, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.epilogue`. Equations: reference.gru_step. Cost: 3 activations a unit.

    Accumulators: r z n_x n_h, since the candidate multiplies r with the hidden side alone.
    """
    size = lanes(pre)
    valid = hidden_size - unit
    for r_ in range(rows):
        line = (row + r_) * ROW_FIELDS
        at = r_ * 4 * size
        r = sigmoid(load(pre, at))
        z = sigmoid(load(pre, at + size))
        n_h = load(pre, at + 3 * size)
        n = tanh(fma(r, n_h, load(pre, at + 2 * size)))
        h_before = load_tail(before, table[line + before_field] + before_shift + unit, valid)
        h = fma(z, h_before, (1.0 - z) * n)
        store_tail(target, table[line + target_field] + target_shift + unit, h, valid)
        if keep:
            gates_at = table[line + ROW_GATES] + gates_shift + unit
            store_tail(saved, gates_at, r, valid)
            store_tail(saved, gates_at + hidden_size, z, valid)
            store_tail(saved, gates_at + 2 * hidden_size, n, valid)
            store_tail(saved, gates_at + 3 * hidden_size, n_h, valid)


@kernel
def gru_epilogue_backward(
    cell, hidden_size, units_from, units_to, table, row, rows,
    before, before_field, before_shift, cells, cells_field, cells_shift,
    output, output_shift, saved, c_next_shift, gates_shift, d_output, d_output_shift, has_d_output,
    arena, d_h, d_c, state_stride, slab, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.epilogue_backward`. Equations: reference.gru_step_backward.

    Slab: n_x r z n_h, so that the input side (n_x r z) and the hidden side (r z n_h) are both contiguous.
    """
    size = lanes(arena)
    for r_ in range(rows):
        line = (row + r_) * ROW_FIELDS
        state_at = d_h + table[line + ROW_STATE] * state_stride
        gates_line = table[line + ROW_GATES] + gates_shift
        before_line = table[line + before_field] + before_shift
        slab_line = slab + table[line + ROW_SLAB]
        for unit in range(units_from, units_to, size):
            valid = hidden_size - unit
            r = load_tail(saved, gates_line + unit, valid)
            z = load_tail(saved, gates_line + hidden_size + unit, valid)
            n = load_tail(saved, gates_line + 2 * hidden_size + unit, valid)
            n_h = load_tail(saved, gates_line + 3 * hidden_size + unit, valid)
            dh = load(arena, state_at + unit)
            if has_d_output:
                dh = dh + load_tail(d_output, table[line + ROW_D_OUTPUT] + d_output_shift + unit, valid)
            dn = dh * (1.0 - z) * fma(-n, n, 1.0)
            dz = dh * (load_tail(before, before_line + unit, valid) - n) * (z * (1.0 - z))
            dr = dn * n_h * (r * (1.0 - r))
            store(arena, state_at + unit, dh * z)
            store_tail(arena, slab_line + unit, dn, valid)
            store_tail(arena, slab_line + hidden_size + unit, dr, valid)
            store_tail(arena, slab_line + 2 * hidden_size + unit, dz, valid)
            store_tail(arena, slab_line + 3 * hidden_size + unit, dn * r, valid)


GRU = CellTag(
    "gru",
    sides=SPLIT_CANDIDATE,
    epilogue=gru_epilogue,
    epilogue_backward=gru_epilogue_backward,
    **ONE_STAGE,
)


@entry_kernel
def gru_forward_serial(plan, x, panels, h_0, output, saved, scratch, resets):
    """Contract: `recurrence.forward_task`, for all tasks."""
    for task in range(num_tasks(plan)):
        forward_task(GRU, task, plan, x, panels, h_0, output, saved, scratch, resets)


@parallel_kernel
def gru_forward_parallel(plan, x, panels, h_0, output, saved, scratch, resets):
    """The parallel twin."""
    for task in prange(num_tasks(plan)):
        forward_task(GRU, int64(task), plan, x, panels, h_0, output, saved, scratch, resets)


@entry_kernel
def gru_backward_serial(plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets):
    """Contract: `recurrence_backward.backward_task`, for all tasks, and then `products.sum_gradients`."""
    for task in range(num_tasks(plan)):
        backward_task(GRU, task, plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets)
    sum_gradients(plan, arena, found)


@parallel_kernel
def gru_backward_parallel(plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets):
    """The parallel twin."""
    for task in prange(num_tasks(plan)):
        backward_task(GRU, int64(task), plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets)
