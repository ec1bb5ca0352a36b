"""The recurrence: one driver for every cell, forward and backward through time.

A task is a group of rows (sequences) of one direction that runs all steps of a time block on one thread. Inside a step
the panels of weights are the outer loop and the group's tiles the inner one, so that a panel is read once a step and
group. A step has a second stage where its second product needs all of the first: a projection, and the GRU whose reset
gate comes before the product.

Where rows are few, the weights' way through the caches is what a step costs. The x side of the next steps is then
hoisted: computed at once, with steps as the rows of tiles, into a slab that a step's sums start from. And tasks share
the rows of a direction but have panels of their own; they meet after each stage of a step.

Where a plan's numbers stand is said in `tasks`.

A cell (`_jit.CellTag`) gives kernels, which are given the cell itself; "rows" are offsets through a field of the table
and a shift:

sides               an int: the sums that each side feeds, see `tile.SIDES`

epilogue            pre-activations of one tile to its new state, one step
    pre               (rows, 4, LANES)   read      hidden units from `unit` on, biases included
    before, cells     rows               read      h_{t-1}, c_{t-1}
    target            rows               written   h_t, or what the second stage multiplies (one `region` a value)
    saved             rows               written   c_t, from c_next_shift on; may be the memory of c_{t-1}
                                         written   with `keep`: from gates_shift on what backward needs, (gates, H)
    panels              vectors_at         read      a cell's parameters that are a number for each hidden unit, H each

finish              pre-activations of the second stage to h_t
    operand           rows               read      what `epilogue` left in `target`
    output            rows               written   h_t

epilogue_backward   adjoints of one step's pre-activations, for `rows` rows from line `row` of the table on; likewise
    before .. saved   as above           read
    d_output          rows               read      the adjoint of h_t from outside, where has_d_output
    arena             d_h, d_c + ROW_STATE * state_stride
                                         read      adjoints of the states at t, padded with zeros
                                         written   those of t-1, but for what reaches d_h through the weights
                      slab + ROW_SLAB    written   adjoints of the pre-activations, then those of a cell's vectors
    panels              as above           read

operand             what the second stage multiplied, made again
    target            rows               written

finish_backward     the part of `epilogue_backward` that needs the second stage's adjoint, at d_operand
"""

from numrnn._jit import kernel
from numrnn.kernels.meeting import all_arrived
from numrnn.kernels.simd import flush_denormals, lanes, restore_mode
from numrnn.kernels.tasks import (
    ARRIVAL_AT,
    C_STEP,
    GATES_STEP,
    H_RING,
    H_STEP,
    HEADER,
    HIDDEN_LINES_AT,
    HIDDEN_SIZE,
    HOISTED,
    INPUT_SIZE,
    KEEP,
    N_MEETING,
    N_TASKS,
    OPERAND_OF,
    OUTPUT_SIZE,
    PANEL_SIZE,
    PANEL_UNITS,
    PANELS_AT,
    PANELS_FROM,
    PANELS_TO,
    REGION,
    ROWS_FROM,
    ROWS_TO,
    SCRATCH_AT,
    SCRATCH_SIZE,
    SECOND_AT,
    SECOND_COLUMNS,
    SECOND_FROM,
    SECOND_STEPS,
    SECOND_TO,
    SLAB_IN_SCRATCH,
    STEPS_AT,
    T_BEGIN,
    T_END,
    TABLE_AT,
    TASK_FIELDS,
    TASKS_AT,
    VECTORS_AT,
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
    ROW_FIELDS,
    ROW_H,
    ROW_H_0,
    ROW_LENGTH,
    ROW_LOCAL,
    ROW_X,
    ROWS,
    VECTORS,
    full_product,
    product,
)


@kernel
def hoist(cell, header, steps, table, first, count, panels_from, panels_to, t, x, panels, scratch, slab):
    """Biases and x side of steps t to t + HOISTED, for a task's panels: what their sums start from.

    steps     read      a table whose line s has s * X_STEP in field ROW_X
    scratch   written   for each panel, for each row, for each step: 4 vectors, from `slab` on
    """
    line = VECTORS * lanes(scratch)
    for panel in range(panels_from, panels_to):
        at = header[PANELS_AT] + panel * header[PANEL_SIZE]
        for row in range(first, first + count):
            to = slab + ((panel - panels_from) * count + row - first) * header[HOISTED] * line
            shift = table[row * ROW_FIELDS + ROW_X] + t * header[X_STEP]
            n = min(header[HOISTED], min(table[row * ROW_FIELDS + ROW_LENGTH], header[T_END]) - t)  # no padding
            n_tiles = (n + ROWS - 1) // ROWS
            s = 0
            for tile in range(n_tiles):
                n_steps = tile_rows(n - s, n_tiles - tile)
                product(
                    cell, n_steps, scratch, to + s * line, line, panels, at, NONE, steps, s,
                    x, ROW_X, shift, header[INPUT_SIZE], x, ROW_X, NONE, NONE, panels, at + line,
                )  # fmt: skip
                s += n_steps


@kernel
def forward_task(cell, task, plan, x, panels, h_0, output, saved, scratch, resets):
    """All steps of a time block for one group of rows and one range of panels.

    x        rows ROW_X + t * X_STEP                     read
    panels   per panel: 4 vectors of biases, input lines, hidden lines; then the second stage's     read
    h_0      rows ROW_H_0                                read at t = 0
    output   rows ROW_H + (t modulo H_RING) * H_STEP     written; h_{t-1} is read back from it; zeros as padding
    saved    cell states and gates, see the module       read, written
    scratch  SCRATCH_SIZE a task                         written: a tile, regions of ROW_LOCAL rows, the hoisted slab
             ARRIVAL_AT, MEETING_AT                      of tasks that meet: see `meeting`
    resets   rows ROW_RESET + t * RESETS_STEP            read where HAS_RESETS

    Tasks that meet write nothing but the meeting if one of them does not come.
    """
    own = plan[TASKS_AT + task * TASK_FIELDS :]
    header = plan[own[HEADER] :]
    if header[N_MEETING] > 1 and not all_arrived(scratch, header[ARRIVAL_AT], plan[N_TASKS]):
        return
    mode = flush_denormals()
    first = own[ROWS_FROM]
    all_rows = count = own[ROWS_TO] - first
    table, hoisted_steps = plan[header[TABLE_AT] :], plan[header[STEPS_AT] :]
    hidden_size, output_size = header[HIDDEN_SIZE], header[OUTPUT_SIZE]
    line = VECTORS * lanes(scratch)
    pre_at = header[SCRATCH_AT] + task * header[SCRATCH_SIZE]
    pre = scratch[pre_at : pre_at + ROWS * line]
    kept_h = pre_at + ROWS * line
    kept_c = kept_h + header[REGION]
    operand_at = kept_h + 2 * header[REGION] + (own[OPERAND_OF] - task) * header[SCRATCH_SIZE]
    slab, hoisted = pre_at + header[SLAB_IN_SCRATCH], header[HOISTED]
    meetings = 0
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
        start, start_stride, input_size, weights_at = panels, NONE, header[INPUT_SIZE], line
        since = 0
        if hoisted:
            since = (t - header[T_BEGIN]) % hoisted
            if since == 0:
                all_rows = count
                hoist(
                    cell, header, hoisted_steps, table, first, count, own[PANELS_FROM], own[PANELS_TO], t,
                    x, panels, scratch, slab,
                )  # fmt: skip
            start, start_stride, input_size, weights_at = scratch, hoisted * line, NONE, header[HIDDEN_LINES_AT]
        n_tiles = (count + ROWS - 1) // ROWS
        for panel in range(own[PANELS_FROM], own[PANELS_TO]):
            at = header[PANELS_AT] + panel * header[PANEL_SIZE]
            row = first
            for tile in range(n_tiles):
                rows = tile_rows(first + count - row, n_tiles - tile)
                start_at = at
                if hoisted:
                    slab_row = (panel - own[PANELS_FROM]) * all_rows + row - first
                    start_at = slab + (slab_row * hoisted + since) * line
                product(
                    cell, rows, pre, NONE, line, start, start_at, start_stride, table, row,
                    x, ROW_X, t * header[X_STEP], input_size,
                    before, before_field, before_shift, output_size, panels, at + weights_at,
                )  # fmt: skip
                cell.epilogue(
                    cell, pre, rows, panel * header[PANEL_UNITS], hidden_size, table, row,
                    before, before_field, before_shift, cells, cells_field, cells_shift,
                    target, target_field, target_shift, header[REGION],
                    saved, (t + 1) * header[C_STEP], t * header[GATES_STEP], header[KEEP],
                    panels, header[VECTORS_AT],
                )  # fmt: skip
                row += rows
        if header[SECOND_COLUMNS]:
            meetings = meet_others(header, scratch, meetings)
        for panel in range(own[SECOND_FROM], own[SECOND_TO]):
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
                    cell, pre, rows, panel * line, header[SECOND_COLUMNS], table, row,
                    before, before_field, before_shift, scratch, operand_at, header[REGION], output, output_shift,
                    saved, t * header[GATES_STEP], header[KEEP], panels, header[VECTORS_AT],
                )  # fmt: skip
                row += rows
        meetings = meet_others(header, scratch, meetings)
    clear_padding(header, own, table, output, ROW_H, header[H_STEP], output_size)
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
    cell, pre, rows, unit, columns, table, row, before, before_field, before_shift,
    operand, operand_shift, region, output, output_shift, saved, gates_shift, keep, panels, vectors_at,
):  # fmt: skip
    """No second stage."""


@kernel
def no_operand(
    cell, hidden_size, units_from, units_to, table, row, rows, before, before_field, before_shift,
    saved, c_next_shift, gates_shift, target, shift,
):  # fmt: skip
    """No second stage."""


@kernel
def no_finish_backward(
    cell, hidden_size, units_from, units_to, table, row, rows, before, before_field, before_shift, saved, gates_shift,
    arena, d_h, d_operand, state_stride, slab, panels, vectors_at,
):  # fmt: skip
    """Nothing of the adjoint waits for a second stage."""


ONE_STAGE = {"has_c": no, "finish": no_finish, "operand": no_operand, "finish_backward": no_finish_backward}
