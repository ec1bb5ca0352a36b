"""The recurrence backward: one driver for every cell; what a cell gives is said in `recurrence`."""

from numrnn._jit import kernel
from numrnn.kernels.meeting import all_arrived
from numrnn.kernels.products import pack_rows
from numrnn.kernels.simd import flush_denormals, lanes, load, load_tail, restore_mode, splat, store, store_tail
from numrnn.kernels.tasks import (
    ALL,
    ARRIVAL_AT,
    BLOCK_LINES,
    C_STEP,
    CLEAR_C,
    CLEAR_H,
    D_C_0_AT,
    D_C_AT,
    D_H_0_AT,
    D_H_AT,
    D_OPERAND_AT,
    D_OUTPUT_STEP,
    D_X_STEP,
    GATES_STEP,
    H_STEP,
    HAS_D_OUTPUT,
    HAS_D_X,
    HEADER,
    HIDDEN_BEGIN,
    HIDDEN_SIZE,
    HIDDEN_WIDTH,
    INPUT_SIZE,
    INPUT_WIDTH,
    INPUTS_FROM,
    INPUTS_TO,
    LINES_AT,
    LONGEST,
    N_MEETING,
    N_TASKS,
    ONE_GROUP,
    OUTPUT_SIZE,
    PANELS_AT,
    PANELS_FROM,
    PANELS_TO,
    REGION,
    RESET,
    RESETS_STEP,
    RIGHT_2_AT,
    RIGHT_AT,
    RIGHT_H_AT,
    ROWS_FROM,
    ROWS_TO,
    SCRATCH_AT,
    SCRATCH_SIZE,
    SECOND_AT,
    SECOND_FROM,
    SECOND_STEPS,
    SECOND_TO,
    SLAB_2_AT,
    SLAB_2_STRIDE,
    SLAB_AT,
    SLAB_STRIDE,
    STATE_STRIDE,
    STEPS_AT,
    T_BEGIN,
    T_END,
    TABLE_AT,
    TASK_FIELDS,
    TASKS_AT,
    VECTORS_AT,
    X_PANELS_AT,
    X_STEP,
    any_reset,
    clear_padding,
    copy_kept,
    meet_others,
    running,
    tile_rows,
)
from numrnn.kernels.tile import (
    NONE,
    ROW_C,
    ROW_D_OUTPUT,
    ROW_D_X,
    ROW_FIELDS,
    ROW_H,
    ROW_H_0,
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


@kernel
def add_products(
    rows_first, rows, table, source, source_field, source_shift, steps, panels, panels_at, panels_from, panels_to,
    arena, target_at, stride, pre, zeros,
):  # fmt: skip
    """target += source @ panels, summed from zero: each addition onto the target, which is larger, would round more.

    source   rows source_field + source_shift, `steps` numbers   read
    arena    target_at + ROW_STATE * stride                      read, written; whole panels
    """
    size = lanes(arena)
    line = VECTORS * size
    n_tiles = (rows + ROWS - 1) // ROWS
    for panel in range(panels_from, panels_to):
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
def clear_states(at, stride, columns_from, columns_to, arena, table, first, count, resets, header, t, all_rows):
    """Put zeros into the rows' adjoints: of all, or of those that are reset before step t."""
    for row in range(first, first + count):
        line = row * ROW_FIELDS
        if all_rows or resets[table[line + ROW_RESET] + t * header[RESETS_STEP]]:
            for unit in range(columns_from, columns_to, lanes(arena)):
                store(arena, at + table[line + ROW_STATE] * stride + unit, splat(arena, 0.0))


@kernel
def read_out_states(at, stride, columns_from, columns_to, arena, table, first, count, found, target, columns):
    """Copy the rows' adjoints to `found`, where a row has `columns` numbers."""
    for row in range(first, first + count):
        state = table[row * ROW_FIELDS + ROW_STATE]
        for unit in range(columns_from, columns_to, lanes(arena)):
            value = load(arena, at + state * stride + unit)
            store_tail(found, target + state * columns + unit, value, columns - unit)


@kernel
def fold_output(header, columns_from, columns_to, table, first, count, t, slab_2, d_output, arena):
    """The adjoint of a projected h_t: d_h plus what comes from outside, moved to the block's second slab."""
    size, columns = lanes(arena), header[OUTPUT_SIZE]
    for row in range(first, first + count):
        line = row * ROW_FIELDS
        to = slab_2 + table[line + ROW_SLAB_2]
        at = header[D_H_AT] + table[line + ROW_STATE] * header[STATE_STRIDE]
        for unit in range(columns_from, columns_to, size):
            value = load(arena, at + unit)
            if header[HAS_D_OUTPUT]:
                outside = table[line + ROW_D_OUTPUT] + t * header[D_OUTPUT_STEP] + unit
                value = value + load_tail(d_output, outside, columns - unit)
            store_tail(arena, to + unit, value, columns - unit)
            store(arena, at + unit, splat(arena, 0.0))


@kernel
def backward_task(cell, task, plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets):
    """Back through all steps of a time block for one group of rows; then its input gradients and operands are written.

    The lines of a block, T_BEGIN first, count the rows of earlier steps that are still running: step t of a row is line
    lines[t] + its rank by length. Slab and packed operands are ordered by it, whatever the tasks.

    x, h_0, output, saved   read     as forward left them
    panels                  read     W_hh, then at X_PANELS_AT W_ih, as panels over their columns; at SECOND_AT the
                                     second stage's; at VECTORS_AT a cell's vectors
    d_output                read     rows ROW_D_OUTPUT + t * D_OUTPUT_STEP
    d_x                     written  rows ROW_D_X + t * D_X_STEP; zeros as padding
    found                   written  at t = 0: D_H_0_AT, D_C_0_AT, a line for each row
    arena                   written  adjoints of the states, cleared at the last step with CLEAR_H, CLEAR_C; the block's
                                     slab of adjoints of pre-activations; the block's rows of x and h_{t-1}, packed for
                                     a weight gradient; scratch as in forward

    A task's panels are those of hidden units, of h_t's features and of x's: it writes these alone, and where it needs
    those of others they meet.
    """
    own = plan[TASKS_AT + task * TASK_FIELDS :]
    header = plan[own[HEADER] :]
    if header[N_MEETING] > 1 and not all_arrived(arena, header[ARRIVAL_AT], plan[N_TASKS]):
        return
    mode = flush_denormals()
    first = own[ROWS_FROM]
    count = own[ROWS_TO] - first
    table = plan[header[TABLE_AT] :]
    hidden_size, output_size = header[HIDDEN_SIZE], header[OUTPUT_SIZE]
    begin, end, stride = header[T_BEGIN], header[T_END], header[STATE_STRIDE]
    size = lanes(arena)
    line = VECTORS * size
    panels_from, panels_to, second_from, second_to = (
        own[PANELS_FROM], own[PANELS_TO], own[SECOND_FROM], own[SECOND_TO]
    )  # fmt: skip
    units_from, units_to = panels_from * line, min(panels_to * line, hidden_size)
    outputs_from, outputs_to = second_from * line, min(second_to * line, output_size)
    pre = header[SCRATCH_AT] + task * header[SCRATCH_SIZE]
    zeros = pre + ROWS * line
    kept_h = zeros + line
    kept_c, operand_at = kept_h + header[REGION], kept_h + 2 * header[REGION]
    lines = plan[header[LINES_AT] :]
    meetings = 0
    for v in range(0, line, size):
        store(arena, zeros + v, splat(arena, 0.0))
    if end == header[LONGEST]:
        if header[CLEAR_H]:
            clear_states(
                header[D_H_AT], stride, second_from * line, second_to * line, arena, table, first, count,
                resets, header, NONE, ALL,
            )  # fmt: skip
        if header[CLEAR_C]:
            clear_states(
                header[D_C_AT], stride, panels_from * line, panels_to * line, arena, table, first, count,
                resets, header, NONE, ALL,
            )  # fmt: skip
    for back in range(end - begin):
        t = end - 1 - back
        alive = running(table, first, count, t)
        at_line = lines[t - begin]
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
        slab = header[SLAB_AT] + at_line * header[SLAB_STRIDE]
        d_h, has_d_output = header[D_H_AT], header[HAS_D_OUTPUT]
        if header[SLAB_2_STRIDE]:  # a projection: its adjoint comes first
            slab_2 = header[SLAB_2_AT] + at_line * header[SLAB_2_STRIDE]
            fold_output(header, outputs_from, outputs_to, table, first, alive, t, slab_2, d_output, arena)
            meetings = meet_others(header, arena, meetings)
            d_h, has_d_output = header[D_OPERAND_AT], 0
            clear_states(d_h, stride, units_from, units_to, arena, table, first, alive, resets, header, t, ALL)
            add_products(
                first, alive, table, arena, ROW_SLAB_2, slab_2, output_size, panels, header[SECOND_AT],
                panels_from, panels_to, arena, d_h, stride, pre, zeros,
            )  # fmt: skip
        cell.epilogue_backward(
            cell, hidden_size, units_from, units_to, table, first, alive,
            before, before_field, before_shift, cells, cells_field, cells_shift,
            output, t * header[H_STEP], saved, (t + 1) * header[C_STEP], t * header[GATES_STEP],
            d_output, t * header[D_OUTPUT_STEP], has_d_output,
            arena, d_h, header[D_C_AT], stride, slab, panels, header[VECTORS_AT],
        )  # fmt: skip
        meetings = meet_others(header, arena, meetings)
        if header[SECOND_STEPS]:
            cell.operand(
                cell, hidden_size, units_from, units_to, table, first, alive, before, before_field, before_shift,
                saved, (t + 1) * header[C_STEP], t * header[GATES_STEP], arena, operand_at,
            )  # fmt: skip
            pack_rows(
                arena, ROW_LOCAL, operand_at, table, first, alive, hidden_size, panels_from, panels_to,
                arena, header[RIGHT_2_AT], header[BLOCK_LINES], at_line,
            )  # fmt: skip
            if not header[SLAB_2_STRIDE]:  # reset before: the candidate's product had the operand
                d_operand = header[D_OPERAND_AT]
                clear_states(
                    d_operand, stride, units_from, units_to, arena, table, first, alive, resets, header, t, ALL
                )
                add_products(
                    first, alive, table, arena, ROW_SLAB, slab, hidden_size, panels, header[SECOND_AT],
                    panels_from, panels_to, arena, d_operand, stride, pre, zeros,
                )  # fmt: skip
                cell.finish_backward(
                    cell, hidden_size, units_from, units_to, table, first, alive, before, before_field, before_shift,
                    saved, t * header[GATES_STEP],
                    arena, header[D_H_AT], header[D_OPERAND_AT], stride, slab, panels, header[VECTORS_AT],
                )  # fmt: skip
                meetings = meet_others(header, arena, meetings)
        add_products(
            first, alive, table, arena, ROW_SLAB, slab + header[HIDDEN_BEGIN], header[HIDDEN_WIDTH],
            panels, header[PANELS_AT], second_from, second_to, arena, header[D_H_AT], stride, pre, zeros,
        )  # fmt: skip
        if reset:
            clear_states(
                header[D_H_AT], stride, outputs_from, outputs_to, arena, table, first, alive, resets, header, t, RESET
            )
            if cell.has_c():
                clear_states(
                    header[D_C_AT], stride, units_from, units_to, arena, table, first, alive, resets, header, t, RESET
                )
        pack_rows(
            x, ROW_X, t * header[X_STEP], table, first, alive, header[INPUT_SIZE], own[INPUTS_FROM], own[INPUTS_TO],
            arena, header[RIGHT_AT], header[BLOCK_LINES], at_line,
        )  # fmt: skip
        pack_rows(
            before, before_field, before_shift, table, first, alive, output_size, second_from, second_to,
            arena, header[RIGHT_H_AT], header[BLOCK_LINES], at_line,
        )  # fmt: skip
    if begin == 0:
        read_out_states(
            header[D_H_AT], stride, outputs_from, outputs_to, arena, table, first, count,
            found, header[D_H_0_AT], output_size,
        )  # fmt: skip
        if cell.has_c():
            read_out_states(
                header[D_C_AT], stride, units_from, units_to, arena, table, first, count,
                found, header[D_C_0_AT], hidden_size,
            )  # fmt: skip
    if header[HAS_D_X]:
        meetings = meet_others(header, arena, meetings)
        if header[ONE_GROUP]:
            input_gradient_of_lines(header, own, plan, table, first, count, panels, d_x, arena, pre, zeros)
        else:
            input_gradient_of_rows(header, table, first, count, lines, panels, d_x, arena, pre, zeros)
        clear_padding(header, own, table, d_x, ROW_D_X, header[D_X_STEP], header[INPUT_SIZE])
    restore_mode(mode)


@kernel
def input_gradient_of_rows(header, table, first, count, lines, panels, d_x, arena, pre, zeros):
    """d_x = slab @ W_ih for the rows and steps of a task; a panel is read once for all of them."""
    begin, end, input_size = header[T_BEGIN], header[T_END], header[INPUT_SIZE]
    line = VECTORS * lanes(arena)
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
                    rows, arena, pre, line, arena, zeros, NONE, table, row,
                    arena, ROW_SLAB, slab, header[INPUT_WIDTH], arena, ROW_SLAB, NONE, NONE, panels, at,
                )  # fmt: skip
                for r in range(rows):
                    store_input_gradient(header, table, row + r, t, panel, arena, pre + r * line, d_x)
                row += rows


@kernel
def input_gradient_of_lines(header, own, plan, table, first, count, panels, d_x, arena, pre, zeros):
    """The same for a task that has all rows of its direction: then steps fill the tiles where rows are few."""
    line = VECTORS * lanes(arena)
    steps, n_lines = plan[header[STEPS_AT] :], header[BLOCK_LINES]
    n_tiles = (n_lines + ROWS - 1) // ROWS
    for panel in range(own[INPUTS_FROM], own[INPUTS_TO]):
        at = header[X_PANELS_AT] + panel * header[INPUT_WIDTH] * line
        t, row, alive, done = header[T_BEGIN], first, running(table, first, count, header[T_BEGIN]), 0
        for tile in range(n_tiles):
            n_rows = tile_rows(n_lines - done, n_tiles - tile)
            full_product(
                n_rows, arena, pre, line, arena, zeros, NONE, steps, NONE,
                arena, ROW_SLAB, header[SLAB_AT] + done * header[SLAB_STRIDE], header[INPUT_WIDTH],
                arena, ROW_SLAB, NONE, NONE, panels, at,
            )  # fmt: skip
            for r in range(n_rows):
                if row == first + alive:
                    t, row = t + 1, first
                    alive = running(table, first, alive, t)
                store_input_gradient(header, table, row, t, panel, arena, pre + r * line, d_x)
                row += 1
            done += n_rows


@kernel
def store_input_gradient(header, table, row, t, panel, arena, pre, d_x):
    """Move one row of a tile to d_x."""
    size = lanes(arena)
    line = VECTORS * size
    valid = header[INPUT_SIZE] - panel * line
    target = table[row * ROW_FIELDS + ROW_D_X] + t * header[D_X_STEP] + panel * line
    for v in range(0, min(line, valid), size):
        store_tail(d_x, target + v, load(arena, pre + v), valid - v)
