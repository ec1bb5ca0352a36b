"""The plan that a launch walks, and what tasks do forward and backward alike.

The plan is one int64 array: N_TASKS, N_SUMS, SUMS_AT, then for each task TASK_FIELDS numbers; the headers of the
directions (fields below); the lines of a block; the table of rows (`tile.ROW_*`); the table of steps, whose line s has
s steps in its fields; backward, the requests of the weight gradients (`products.WG_*`). Offsets and steps count
numbers, not bytes. Step t is the t-th that a direction processes: the reverse one has negative steps and begins at each
row's own end. Rows of a task are sorted by falling length, so those still running come first.
"""

import numpy as np

from numrnn._jit import kernel
from numrnn.kernels.meeting import meet
from numrnn.kernels.simd import lanes, load_tail, splat, store_tail
from numrnn.kernels.tile import ROW_FIELDS, ROW_LENGTH, ROW_LOCAL, ROW_RESET

# Weight gradients that a backward launch of one thread sums itself; where the requests of all of them begin.
N_TASKS, N_SUMS, SUMS_AT, TASKS_AT = range(4)

# A task: its direction's header; its rows, its panels, those of the second stage (backward: of h_t's features) and of
# x's features, from the first to before the last; the task in whose scratch the second stage's operand stands.
(
    HEADER, ROWS_FROM, ROWS_TO, PANELS_FROM, PANELS_TO, SECOND_FROM, SECOND_TO, INPUTS_FROM, INPUTS_TO, OPERAND_OF,
    TASK_FIELDS,
) = range(11)  # fmt: skip

ALL, RESET = np.bool_(True), np.bool_(False)

# A direction's header. Fields that only backward reads are 0 in a forward plan.
(
    T_BEGIN, T_END, TABLE_AT, INPUT_SIZE, HIDDEN_SIZE, OUTPUT_SIZE, PANEL_UNITS, PANEL_SIZE, PANELS_AT,
    SECOND_COLUMNS, SECOND_STEPS, SECOND_AT,
    X_STEP, H_STEP, H_RING, C_STEP, GATES_STEP, KEEP, HAS_RESETS, RESETS_STEP, SCRATCH_AT, SCRATCH_SIZE, REGION,
    HAS_D_OUTPUT, D_OUTPUT_STEP, HAS_D_X, D_X_STEP, SLAB_STRIDE, HIDDEN_BEGIN, HIDDEN_WIDTH, INPUT_WIDTH,
    D_H_AT, D_C_AT, D_OPERAND_AT, STATE_STRIDE, SLAB_AT, SLAB_2_AT, SLAB_2_STRIDE, X_PANELS_AT, RIGHT_AT, RIGHT_H_AT,
    RIGHT_2_AT, LINES_AT, BLOCK_LINES, PADDED_STEPS, LONGEST, CLEAR_H, CLEAR_C, D_H_0_AT, D_C_0_AT,
    HOISTED, HIDDEN_LINES_AT, STEPS_AT, SLAB_IN_SCRATCH, ARRIVAL_AT, MEETING_AT, N_MEETING, ONE_GROUP,
    VECTORS_AT, HEADER_FIELDS,
) = range(60)  # fmt: skip


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
def clear_padding(header, own, table, target, field, step, columns):
    """Put zeros behind the ends of a task's rows, up to PADDED_STEPS, in the launch that has their first step.

    target   rows field + t * step   written, `columns` numbers for each step that a row has not
    """
    if header[T_BEGIN] or own[PANELS_FROM]:
        return
    for row in range(own[ROWS_FROM], own[ROWS_TO]):
        line = row * ROW_FIELDS
        for k in range(header[PADDED_STEPS] - table[line + ROW_LENGTH]):
            t = table[line + ROW_LENGTH] + k if step > 0 else -1 - k  # a reverse row ends where it begins
            for v in range(0, columns, lanes(target)):
                store_tail(target, table[line + field] + t * step + v, splat(target, 0.0), columns - v)


@kernel
def meet_others(header, memory, meetings):
    """Wait for the tasks that share a direction's rows, if there are any; returns how often they have met."""
    if header[N_MEETING] > 1:
        meetings += 1
        meet(memory, header[MEETING_AT], header[N_MEETING], meetings)
    return meetings
