"""The recurrence: one driver for every cell, forward and backward through time.

A task is a group of rows (sequences) that runs all steps of a time block on one thread, without a barrier. Inside a
step the panels of weights are the outer loop and the group's tiles the inner one, so that a panel is read once a step
and group.

The plan is one int64 array: a header (fields below), the first row of each task, and the table of rows (`tile.ROW_*`).
Offsets and steps count numbers, not bytes. Rows of a task are sorted by falling length, so those still running come
first.

A cell (`_jit.CellTag`) gives three kernels:

product             `tile.full_product` or `tile.split_product`

epilogue            pre-activations of one tile to its new state, one step
    pre               (rows, 4, LANES)   read      hidden units from `unit` on, biases included
    before            row offsets        read      h_{t-1}, from field before_field and before_shift on
    output            row offsets        written   h_t, from output_shift on
    saved             row offsets        read      c_{t-1}, from c_shift on
                                         written   c_t, from c_next_shift on; may be the same memory
                                         written   with `keep`: from gates_shift on what backward needs, (gates, H)

epilogue_backward   adjoints of one step's pre-activations, for `rows` rows from line `row` of the table on
    before .. saved   as above           read
    d_output          row offsets        read      the adjoint of h_t from outside, where has_d_output
    arena             d_h, d_c + ROW_STATE * state_stride
                                         read      adjoints of the states at t, padded with zeros
                                         written   those of t-1, but for what reaches d_h through the weights
                      slab + ROW_SLAB    written   adjoints of the pre-activations
"""

from numrnn._jit import kernel
from numrnn.kernels.products import pack_rows
from numrnn.kernels.simd import flush_denormals, lanes, load, restore_mode, store, store_tail
from numrnn.kernels.tile import (
    ROW_D_X,
    ROW_FIELDS,
    ROW_H,
    ROW_H_0,
    ROW_LENGTH,
    ROW_SLAB,
    ROW_STATE,
    ROW_X,
    ROWS,
    VECTORS,
    full_product,
)

# The plan's header. Fields that only backward reads are 0 in a forward plan.
HEADER_FIELDS = 40
(
    T_BEGIN, T_END, N_TASKS, TASKS_AT, TABLE_AT, INPUT_SIZE, HIDDEN_SIZE, PANEL_UNITS, N_PANELS, PANEL_SIZE,
    X_STEP, H_STEP, H_RING, C_STEP, GATES_STEP, KEEP,
    HAS_D_OUTPUT, D_OUTPUT_STEP, HAS_D_X, D_X_STEP, SLAB_STEP, SLAB_WIDTH, HIDDEN_BEGIN, HIDDEN_WIDTH, INPUT_WIDTH,
    D_H_AT, D_C_AT, STATE_STRIDE, SLAB_AT, X_PANELS_AT, PRE_AT, RIGHT_AT, RIGHT_H_AT, SLAB_ROWS, TABLE_ROWS, ZEROS_AT,
) = range(36)  # fmt: skip


@kernel
def num_tasks(plan):
    """Tasks of a launch."""
    return plan[N_TASKS]


@kernel
def running(table, first, count, t):
    """Rows, of `count` from line `first` on, that have a step t."""
    while count > 0 and table[(first + count - 1) * ROW_FIELDS + ROW_LENGTH] <= t:
        count -= 1
    return count


@kernel
def tile_rows(rows, tiles):
    """Rows of the next tile when `rows` are left for `tiles` tiles: as equal as can be."""
    return (rows + tiles - 1) // tiles


@kernel
def forward_task(cell, task, plan, x, panels, h_0, output, saved, scratch):
    """All steps of a time block for one group of rows.

    x        row offsets ROW_X + t * X_STEP                   read
    panels   per panel: 4 vectors of biases, input lines, hidden lines     read
    h_0      row offsets ROW_H_0                              read at t = 0
    output   row offsets ROW_H + (t modulo H_RING) * H_STEP   written; h_{t-1} is read back from it
    saved    cell states and gates, see the module            read, written
    scratch  a tile a task                                    written
    """
    mode = flush_denormals()
    hidden_size, input_size = plan[HIDDEN_SIZE], plan[INPUT_SIZE]
    table = plan[plan[TABLE_AT] :]
    first = plan[plan[TASKS_AT] + task]
    count = plan[plan[TASKS_AT] + task + 1] - first
    line = VECTORS * lanes(scratch)
    pre = scratch[task * ROWS * line : (task + 1) * ROWS * line]
    for t in range(plan[T_BEGIN], plan[T_END]):
        count = running(table, first, count, t)
        if t == 0:
            before, before_field, before_shift = h_0, ROW_H_0, 0
        else:
            before, before_field, before_shift = output, ROW_H, (t - 1) % plan[H_RING] * plan[H_STEP]
        output_shift = t % plan[H_RING] * plan[H_STEP]
        n_tiles = (count + ROWS - 1) // ROWS
        for panel in range(plan[N_PANELS]):
            at = panel * plan[PANEL_SIZE]
            row = first
            for tile in range(n_tiles):
                rows = tile_rows(first + count - row, n_tiles - tile)
                cell.product(
                    rows, pre, 0, line, panels, at, 0, table, row,
                    x, ROW_X, t * plan[X_STEP], input_size,
                    before, before_field, before_shift, hidden_size, panels, at + line,
                )  # fmt: skip
                cell.epilogue(
                    pre, rows, panel * plan[PANEL_UNITS], hidden_size, table, row,
                    before, before_field, before_shift, output, output_shift,
                    saved, t * plan[C_STEP], (t + 1) * plan[C_STEP], t * plan[GATES_STEP], plan[KEEP],
                )  # fmt: skip
                row += rows
    restore_mode(mode)


@kernel
def backward_task(cell, task, plan, x, panels, h_0, output, saved, d_output, d_x, arena):
    """Back through all steps of a time block for one group of rows; then its input gradients and operands are written.

    x, h_0, output, saved   read     as forward left them
    panels                  read     W_hh, then at X_PANELS_AT W_ih, as panels over their columns
    d_output                read     row offsets ROW_D_OUTPUT + t * D_OUTPUT_STEP
    d_x                     written  row offsets ROW_D_X + t * D_X_STEP
    arena                   written  adjoints of the states; the block's slab of adjoints of pre-activations; the
                                     block's rows of x and h_{t-1}, packed for a weight gradient; a tile a task
    """
    mode = flush_denormals()
    hidden_size = plan[HIDDEN_SIZE]
    table = plan[plan[TABLE_AT] :]
    first = plan[plan[TASKS_AT] + task]
    count = plan[plan[TASKS_AT] + task + 1] - first
    begin, end = plan[T_BEGIN], plan[T_END]
    size = lanes(arena)
    stride, line = plan[STATE_STRIDE], VECTORS * size
    hidden_columns = plan[HIDDEN_WIDTH] * line
    pre = plan[PRE_AT] + task * ROWS * line
    for back in range(end - begin):
        t = end - 1 - back
        alive = running(table, first, count, t)
        if t == 0:
            before, before_field, before_shift = h_0, ROW_H_0, 0
        else:
            before, before_field, before_shift = output, ROW_H, (t - 1) * plan[H_STEP]
        slab = plan[SLAB_AT] + (t - begin) * plan[SLAB_STEP]
        cell.epilogue_backward(
            hidden_size, table, first, alive, before, before_field, before_shift, output, t * plan[H_STEP],
            saved, t * plan[C_STEP], (t + 1) * plan[C_STEP], t * plan[GATES_STEP],
            d_output, t * plan[D_OUTPUT_STEP], plan[HAS_D_OUTPUT],
            arena, plan[D_H_AT], plan[D_C_AT], stride, slab,
        )  # fmt: skip
        # d_h += slab @ W_hh, summed from zero: each addition onto d_h itself, which is larger, would round more.
        n_tiles = (alive + ROWS - 1) // ROWS
        for panel in range((hidden_size + line - 1) // line):
            row = first
            for tile in range(n_tiles):
                rows = tile_rows(first + alive - row, n_tiles - tile)
                full_product(
                    rows, arena, pre, line, arena, plan[ZEROS_AT], 0, table, row,
                    arena, ROW_SLAB, slab + plan[HIDDEN_BEGIN], plan[HIDDEN_WIDTH],
                    arena, ROW_SLAB, 0, 0, panels, panel * hidden_columns,
                )  # fmt: skip
                for r in range(rows):
                    at = plan[D_H_AT] + table[(row + r) * ROW_FIELDS + ROW_STATE] * stride + panel * line
                    for v in range(0, line, size):
                        store(arena, at + v, load(arena, at + v) + load(arena, pre + r * line + v))
                row += rows
        pack_rows(
            x, ROW_X, t * plan[X_STEP], table, first, alive, plan[INPUT_SIZE],
            arena, plan[RIGHT_AT], plan[SLAB_ROWS], (t - begin) * plan[TABLE_ROWS],
        )  # fmt: skip
        pack_rows(
            before, before_field, before_shift, table, first, alive, hidden_size,
            arena, plan[RIGHT_H_AT], plan[SLAB_ROWS], (t - begin) * plan[TABLE_ROWS],
        )  # fmt: skip
    if plan[HAS_D_X]:
        _input_gradient(task, plan, table, first, count, panels, d_x, arena)
    restore_mode(mode)


@kernel
def _input_gradient(task, plan, table, first, count, panels, d_x, arena):
    """d_x = slab @ W_ih for the rows and steps of a task; a panel is read once for all of them."""
    begin, end, input_size = plan[T_BEGIN], plan[T_END], plan[INPUT_SIZE]
    size = lanes(arena)
    line = VECTORS * size
    pre = plan[PRE_AT] + task * ROWS * line
    for panel in range((input_size + line - 1) // line):
        at = plan[X_PANELS_AT] + panel * plan[INPUT_WIDTH] * line
        for t in range(begin, end):
            alive = running(table, first, count, t)
            n_tiles = (alive + ROWS - 1) // ROWS
            slab = plan[SLAB_AT] + (t - begin) * plan[SLAB_STEP]
            row = first
            for tile in range(n_tiles):
                rows = tile_rows(first + alive - row, n_tiles - tile)
                full_product(
                    rows, arena, pre, line, arena, plan[ZEROS_AT], 0, table, row,
                    arena, ROW_SLAB, slab, plan[INPUT_WIDTH], arena, ROW_SLAB, 0, 0, panels, at,
                )  # fmt: skip
                for r in range(rows):
                    target = table[(row + r) * ROW_FIELDS + ROW_D_X] + t * plan[D_X_STEP] + panel * line
                    for v in range(0, line, size):
                        valid = input_size - panel * line - v
                        if valid > 0:
                            store_tail(d_x, target + v, load(arena, pre + r * line + v), valid)
                row += rows
