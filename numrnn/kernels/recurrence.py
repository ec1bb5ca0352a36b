"""The recurrence: one driver for every cell, forward and backward through time.

A task is a group of rows (sequences) of one direction that runs all steps of a time block on one thread, without a
barrier. Inside a step the panels of weights are the outer loop and the group's tiles the inner one, so that a panel is
read once a step and group. A step has a second stage where its second product needs all of the first: a projection,
and the GRU whose reset gate comes before the product.

The plan is one int64 array: N_TASKS, then for each task its direction's header, its first row and the row behind its
last; the headers (fields below); the lines of a block; the table of rows (`tile.ROW_*`). Offsets and steps count
numbers, not bytes. Step t is the t-th that a direction processes: the reverse one has negative steps and begins at each
row's own end. Rows of a task are sorted by falling length, so those still running come first.

A cell (`_jit.CellTag`) gives kernels; "rows" are offsets through a field of the table and a shift:

product             `tile.full_product` or `tile.split_product`

epilogue            pre-activations of one tile to its new state, one step
    pre               (rows, 4, LANES)   read      hidden units from `unit` on, biases included
    before, cells     rows               read      h_{t-1}, c_{t-1}
    target            rows               written   h_t, or what the second stage multiplies (one `region` a value)
    saved             rows               written   c_t, from c_next_shift on; may be the memory of c_{t-1}
                                         written   with `keep`: from gates_shift on what backward needs, (gates, H)

finish              pre-activations of the second stage to h_t
    operand           rows               read      what `epilogue` left in `target`
    output            rows               written   h_t

epilogue_backward   adjoints of one step's pre-activations, for `rows` rows from line `row` of the table on
    before .. saved   as above           read
    d_output          rows               read      the adjoint of h_t from outside, where has_d_output
    arena             d_h, d_c + ROW_STATE * state_stride
                                         read      adjoints of the states at t, padded with zeros
                                         written   those of t-1, but for what reaches d_h through the weights
                      slab + ROW_SLAB    written   adjoints of the pre-activations

operand             what the second stage multiplied, made again
    target            rows               written

finish_backward     the part of `epilogue_backward` that needs the second stage's adjoint, at d_operand
"""

import numpy as np

from numrnn._jit import kernel
from numrnn.kernels.products import pack_rows
from numrnn.kernels.simd import flush_denormals, lanes, load, load_tail, restore_mode, splat, store, store_tail
from numrnn.kernels.tile import (
    NONE,
    ROW_C,
    ROW_D_OUTPUT,
    ROW_D_X,
    ROW_FIELDS,
    ROW_H,
    ROW_H_0,
    ROW_LENGTH,
    ROW_LOCAL,
    ROW_RESET,
    ROW_SLAB,
    ROW_SLAB_2,
    ROW_STATE,
    ROW_X,
    ROWS,
    VECTORS,
    full_product,
)

N_TASKS, TASKS_AT, TASK_FIELDS = 0, 1, 3
ALL, RESET = np.bool_(True), np.bool_(False)

# A direction's header. Fields that only backward reads are 0 in a forward plan.
(
    T_BEGIN, T_END, TABLE_AT, INPUT_SIZE, HIDDEN_SIZE, OUTPUT_SIZE, PANEL_UNITS, N_PANELS, PANEL_SIZE, PANELS_AT,
    SECOND_COLUMNS, SECOND_STEPS, SECOND_AT,
    X_STEP, H_STEP, H_RING, C_STEP, GATES_STEP, KEEP, HAS_RESETS, RESETS_STEP, SCRATCH_AT, SCRATCH_SIZE, REGION,
    HAS_D_OUTPUT, D_OUTPUT_STEP, HAS_D_X, D_X_STEP, SLAB_STRIDE, HIDDEN_BEGIN, HIDDEN_WIDTH, INPUT_WIDTH,
    D_H_AT, D_C_AT, D_OPERAND_AT, STATE_STRIDE, SLAB_AT, SLAB_2_AT, SLAB_2_STRIDE, X_PANELS_AT, RIGHT_AT, RIGHT_H_AT,
    RIGHT_2_AT, LINES_AT, BLOCK_LINES, ZEROS_AT, HEADER_FIELDS,
) = range(47)  # fmt: skip


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
def any_reset(resets, header, table, first, count, t):
    """Whether one of the rows forgets its state before step t."""
    if header[HAS_RESETS]:
        for row in range(first, first + count):
            if resets[table[row * ROW_FIELDS + ROW_RESET] + t * header[RESETS_STEP]]:
                return True
    return False


@kernel
def copy_kept(source, field, shift, size, resets, header, table, first, count, t, target, target_shift):
    """Copy the rows' states to where zeros may stand in for those that are reset before step t."""
    step = lanes(target)
    for row in range(first, first + count):
        line = row * ROW_FIELDS
        reset = resets[table[line + ROW_RESET] + t * header[RESETS_STEP]]
        for unit in range(0, size, step):
            at = table[line + ROW_LOCAL] + target_shift + unit
            value = splat(target, 0.0)
            if not reset:
                value = load_tail(source, table[line + field] + shift + unit, size - unit)
            store_tail(target, at, value, size - unit)


@kernel
def forward_task(cell, task, plan, x, panels, h_0, output, saved, scratch, resets):
    """All steps of a time block for one group of rows.

    x        rows ROW_X + t * X_STEP                     read
    panels   per panel: 4 vectors of biases, input lines, hidden lines; then the second stage's     read
    h_0      rows ROW_H_0                                read at t = 0
    output   rows ROW_H + (t modulo H_RING) * H_STEP     written; h_{t-1} is read back from it
    saved    cell states and gates, see the module       read, written
    scratch  SCRATCH_SIZE a task                         written: a tile, then regions of ROW_LOCAL rows
    resets   rows ROW_RESET + t * RESETS_STEP            read where HAS_RESETS
    """
    mode = flush_denormals()
    task_at = TASKS_AT + task * TASK_FIELDS
    header = plan[plan[task_at] :]
    first = plan[task_at + 1]
    count = plan[task_at + 2] - first
    table = plan[header[TABLE_AT] :]
    hidden_size, output_size = header[HIDDEN_SIZE], header[OUTPUT_SIZE]
    line = VECTORS * lanes(scratch)
    pre_at = header[SCRATCH_AT] + task * header[SCRATCH_SIZE]
    pre = scratch[pre_at : pre_at + ROWS * line]
    kept_h = pre_at + ROWS * line
    kept_c, operand_at = kept_h + header[REGION], kept_h + 2 * header[REGION]
    for t in range(header[T_BEGIN], header[T_END]):
        count = running(table, first, count, t)
        if t == 0:
            before, before_field, before_shift = h_0, ROW_H_0, NONE
        else:
            before, before_field, before_shift = output, ROW_H, (t - 1) % header[H_RING] * header[H_STEP]
        cells, cells_field, cells_shift = saved, ROW_C, t * header[C_STEP]
        if any_reset(resets, header, table, first, count, t):
            copy_kept(
                before, before_field, before_shift, output_size, resets, header, table, first, count, t, scratch, kept_h
            )
            before, before_field, before_shift = scratch, ROW_LOCAL, kept_h
            if cell.has_c():
                copy_kept(
                    cells,
                    cells_field,
                    cells_shift,
                    hidden_size,
                    resets,
                    header,
                    table,
                    first,
                    count,
                    t,
                    scratch,
                    kept_c,
                )
                cells, cells_field, cells_shift = scratch, ROW_LOCAL, kept_c
        output_shift = t % header[H_RING] * header[H_STEP]
        target, target_field, target_shift = output, ROW_H, output_shift
        if header[SECOND_COLUMNS]:
            target, target_field, target_shift = scratch, ROW_LOCAL, operand_at
        n_tiles = (count + ROWS - 1) // ROWS
        for panel in range(header[N_PANELS]):
            at = header[PANELS_AT] + panel * header[PANEL_SIZE]
            row = first
            for tile in range(n_tiles):
                rows = tile_rows(first + count - row, n_tiles - tile)
                cell.product(
                    rows, pre, NONE, line, panels, at, NONE, table, row,
                    x, ROW_X, t * header[X_STEP], header[INPUT_SIZE],
                    before, before_field, before_shift, output_size, panels, at + line,
                )  # fmt: skip
                cell.epilogue(
                    pre, rows, panel * header[PANEL_UNITS], hidden_size, table, row,
                    before, before_field, before_shift, cells, cells_field, cells_shift,
                    target, target_field, target_shift, header[REGION],
                    saved, (t + 1) * header[C_STEP], t * header[GATES_STEP], header[KEEP],
                )  # fmt: skip
                row += rows
        for panel in range((header[SECOND_COLUMNS] + line - 1) // line):
            at = header[SECOND_AT] + panel * (header[SECOND_STEPS] + 1) * line
            row = first
            for tile in range(n_tiles):
                rows = tile_rows(first + count - row, n_tiles - tile)
                full_product(
                    rows, pre, NONE, line, panels, at, NONE, table, row,
                    scratch, ROW_LOCAL, operand_at, header[SECOND_STEPS],
                    scratch, ROW_LOCAL, NONE, NONE, panels, at + line,
                )  # fmt: skip
                cell.finish(
                    pre, rows, panel * line, header[SECOND_COLUMNS], table, row, before, before_field, before_shift,
                    scratch, operand_at, header[REGION], output, output_shift, saved, t * header[GATES_STEP],
                    header[KEEP],
                )  # fmt: skip
                row += rows
    restore_mode(mode)


@kernel
def yes():
    """For cells that have the thing asked for."""
    return True


@kernel
def no():
    """For cells that do not."""
    return False


# What cells of one stage give in place of a second.


@kernel
def no_finish(
    pre, rows, unit, columns, table, row, before, before_field, before_shift,
    operand, operand_shift, region, output, output_shift, saved, gates_shift, keep,
):  # fmt: skip
    """No second stage."""


@kernel
def no_operand(
    hidden_size, table, row, rows, before, before_field, before_shift, saved, c_next_shift, gates_shift, target, shift
):
    """No second stage."""


@kernel
def no_finish_backward(
    hidden_size, table, row, rows, before, before_field, before_shift, saved, gates_shift,
    arena, d_h, d_operand, state_stride, slab,
):  # fmt: skip
    """Nothing of the adjoint waits for a second stage."""


ONE_STAGE = {"has_c": no, "finish": no_finish, "operand": no_operand, "finish_backward": no_finish_backward}


@kernel
def add_products(
    rows_first, rows, table, source, source_field, source_shift, steps, panels, panels_at, columns,
    arena, target_at, stride, pre, zeros,
):  # fmt: skip
    """target += source @ panels, summed from zero: each addition onto the target, which is larger, would round more.

    source   rows source_field + source_shift, `steps` numbers   read
    arena    target_at + ROW_STATE * stride, `columns` numbers   read, written; whole vectors
    """
    size = lanes(arena)
    line = VECTORS * size
    n_tiles = (rows + ROWS - 1) // ROWS
    for panel in range((columns + line - 1) // line):
        row = rows_first
        for tile in range(n_tiles):
            count = tile_rows(rows_first + rows - row, n_tiles - tile)
            full_product(
                count, arena, pre, line, arena, zeros, NONE, table, row,
                source, source_field, source_shift, steps, source, source_field, NONE, NONE,
                panels, panels_at + panel * steps * line,
            )  # fmt: skip
            for r in range(count):
                at = target_at + table[(row + r) * ROW_FIELDS + ROW_STATE] * stride + panel * line
                for v in range(0, line, size):
                    store(arena, at + v, load(arena, at + v) + load(arena, pre + r * line + v))
            row += count


@kernel
def clear_states(at, stride, columns, arena, table, first, count, resets, header, t, all_rows):
    """Put zeros into the rows' adjoints: of all, or of those that are reset before step t."""
    for row in range(first, first + count):
        line = row * ROW_FIELDS
        if all_rows or resets[table[line + ROW_RESET] + t * header[RESETS_STEP]]:
            for unit in range(0, columns, lanes(arena)):
                store(arena, at + table[line + ROW_STATE] * stride + unit, splat(arena, 0.0))


@kernel
def fold_output(header, table, first, count, t, slab_2, d_output, arena):
    """The adjoint of a projected h_t: d_h plus what comes from outside, moved to the block's second slab."""
    size, columns = lanes(arena), header[OUTPUT_SIZE]
    for row in range(first, first + count):
        line = row * ROW_FIELDS
        to = slab_2 + table[line + ROW_SLAB_2]
        at = header[D_H_AT] + table[line + ROW_STATE] * header[STATE_STRIDE]
        for unit in range(0, columns, size):
            value = load(arena, at + unit)
            if header[HAS_D_OUTPUT]:
                outside = table[line + ROW_D_OUTPUT] + t * header[D_OUTPUT_STEP] + unit
                value = value + load_tail(d_output, outside, columns - unit)
            store_tail(arena, to + unit, value, columns - unit)
            store(arena, at + unit, splat(arena, 0.0))


@kernel
def backward_task(cell, task, plan, x, panels, h_0, output, saved, d_output, d_x, arena, resets):
    """Back through all steps of a time block for one group of rows; then its input gradients and operands are written.

    The lines of a block, T_BEGIN first, count the rows of earlier steps that are still running: step t of a row is line
    lines[t] + its rank by length. Slab and packed operands are ordered by it, whatever the tasks.

    x, h_0, output, saved   read     as forward left them
    panels                  read     W_hh, then at X_PANELS_AT W_ih, as panels over their columns; at SECOND_AT the
                                     second stage's
    d_output                read     rows ROW_D_OUTPUT + t * D_OUTPUT_STEP
    d_x                     written  rows ROW_D_X + t * D_X_STEP
    arena                   written  adjoints of the states; the block's slab of adjoints of pre-activations; the
                                     block's rows of x and h_{t-1}, packed for a weight gradient; scratch as in forward
    """
    mode = flush_denormals()
    task_at = TASKS_AT + task * TASK_FIELDS
    header = plan[plan[task_at] :]
    first = plan[task_at + 1]
    count = plan[task_at + 2] - first
    table = plan[header[TABLE_AT] :]
    hidden_size, output_size = header[HIDDEN_SIZE], header[OUTPUT_SIZE]
    begin, end, stride = header[T_BEGIN], header[T_END], header[STATE_STRIDE]
    size = lanes(arena)
    pre = header[SCRATCH_AT] + task * header[SCRATCH_SIZE]
    kept_h = pre + ROWS * VECTORS * size
    kept_c, operand_at = kept_h + header[REGION], kept_h + 2 * header[REGION]
    lines = plan[header[LINES_AT] :]
    for back in range(end - begin):
        t = end - 1 - back
        alive = running(table, first, count, t)
        line = lines[t - begin]
        if t == 0:
            before, before_field, before_shift = h_0, ROW_H_0, NONE
        else:
            before, before_field, before_shift = output, ROW_H, (t - 1) * header[H_STEP]
        cells, cells_field, cells_shift = saved, ROW_C, t * header[C_STEP]
        reset = any_reset(resets, header, table, first, alive, t)
        if reset:
            copy_kept(
                before, before_field, before_shift, output_size, resets, header, table, first, alive, t, arena, kept_h
            )
            before, before_field, before_shift = arena, ROW_LOCAL, kept_h
            if cell.has_c():
                copy_kept(
                    cells, cells_field, cells_shift, hidden_size, resets, header, table, first, alive, t, arena, kept_c
                )
                cells, cells_field, cells_shift = arena, ROW_LOCAL, kept_c
        slab = header[SLAB_AT] + line * header[SLAB_STRIDE]
        d_h, has_d_output = header[D_H_AT], header[HAS_D_OUTPUT]
        if header[SLAB_2_STRIDE]:  # a projection: its adjoint comes first
            slab_2 = header[SLAB_2_AT] + line * header[SLAB_2_STRIDE]
            fold_output(header, table, first, alive, t, slab_2, d_output, arena)
            d_h, has_d_output = header[D_OPERAND_AT], 0
            clear_states(d_h, stride, hidden_size, arena, table, first, alive, resets, header, t, ALL)
            add_products(
                first, alive, table, arena, ROW_SLAB_2, slab_2, output_size, panels, header[SECOND_AT], hidden_size,
                arena, d_h, stride, pre, header[ZEROS_AT],
            )  # fmt: skip
        cell.epilogue_backward(
            hidden_size, table, first, alive, before, before_field, before_shift, cells, cells_field, cells_shift,
            output, t * header[H_STEP], saved, (t + 1) * header[C_STEP], t * header[GATES_STEP],
            d_output, t * header[D_OUTPUT_STEP], has_d_output,
            arena, d_h, header[D_C_AT], stride, slab,
        )  # fmt: skip
        if header[SECOND_STEPS]:
            cell.operand(
                hidden_size, table, first, alive, before, before_field, before_shift,
                saved, (t + 1) * header[C_STEP], t * header[GATES_STEP], arena, operand_at,
            )  # fmt: skip
            pack_rows(
                arena, ROW_LOCAL, operand_at, table, first, alive, hidden_size,
                arena, header[RIGHT_2_AT], header[BLOCK_LINES], line,
            )  # fmt: skip
            if not header[SLAB_2_STRIDE]:  # reset before: the candidate's product had the operand
                d_operand = header[D_OPERAND_AT]
                clear_states(d_operand, stride, hidden_size, arena, table, first, alive, resets, header, t, ALL)
                add_products(
                    first, alive, table, arena, ROW_SLAB, slab, hidden_size, panels, header[SECOND_AT], hidden_size,
                    arena, d_operand, stride, pre, header[ZEROS_AT],
                )  # fmt: skip
                cell.finish_backward(
                    hidden_size, table, first, alive, before, before_field, before_shift, saved, t * header[GATES_STEP],
                    arena, header[D_H_AT], header[D_OPERAND_AT], stride, slab,
                )  # fmt: skip
        add_products(
            first, alive, table, arena, ROW_SLAB, slab + header[HIDDEN_BEGIN], header[HIDDEN_WIDTH],
            panels, header[PANELS_AT], output_size, arena, header[D_H_AT], stride, pre, header[ZEROS_AT],
        )  # fmt: skip
        if reset:
            clear_states(header[D_H_AT], stride, output_size, arena, table, first, alive, resets, header, t, RESET)
            if cell.has_c():
                clear_states(header[D_C_AT], stride, hidden_size, arena, table, first, alive, resets, header, t, RESET)
        pack_rows(
            x, ROW_X, t * header[X_STEP], table, first, alive, header[INPUT_SIZE],
            arena, header[RIGHT_AT], header[BLOCK_LINES], line,
        )  # fmt: skip
        pack_rows(
            before, before_field, before_shift, table, first, alive, output_size,
            arena, header[RIGHT_H_AT], header[BLOCK_LINES], line,
        )  # fmt: skip
    if header[HAS_D_X]:
        _input_gradient(header, table, first, count, lines, panels, d_x, arena, pre)
    restore_mode(mode)


@kernel
def _input_gradient(header, table, first, count, lines, panels, d_x, arena, pre):
    """d_x = slab @ W_ih for the rows and steps of a task; a panel is read once for all of them."""
    begin, end, input_size = header[T_BEGIN], header[T_END], header[INPUT_SIZE]
    size = lanes(arena)
    line = VECTORS * size
    for panel in range((input_size + line - 1) // line):
        at = header[X_PANELS_AT] + panel * header[INPUT_WIDTH] * line
        for t in range(begin, end):
            alive = running(table, first, count, t)
            n_tiles = (alive + ROWS - 1) // ROWS
            slab = header[SLAB_AT] + lines[t - begin] * header[SLAB_STRIDE]
            row = first
            for tile in range(n_tiles):
                rows = tile_rows(first + alive - row, n_tiles - tile)
                full_product(
                    rows, arena, pre, line, arena, header[ZEROS_AT], NONE, table, row,
                    arena, ROW_SLAB, slab, header[INPUT_WIDTH], arena, ROW_SLAB, NONE, NONE, panels, at,
                )  # fmt: skip
                for r in range(rows):
                    target = table[(row + r) * ROW_FIELDS + ROW_D_X] + t * header[D_X_STEP] + panel * line
                    for v in range(0, min(line, input_size - panel * line), size):
                        store_tail(d_x, target + v, load(arena, pre + r * line + v), input_size - panel * line - v)
                row += rows
