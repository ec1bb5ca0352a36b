"""Dense products over rows: y = x @ W^T + b, and the packing that its weight gradient needs.

Rows are as long as the layer is wide and follow each other, so one short table of rows serves all of them.
"""

from numrnn._jit import entry_kernel, int64, kernel, parallel_kernel, prange
from numrnn.kernels.products import pack_rows
from numrnn.kernels.simd import flush_denormals, lanes, load, restore_mode, store_tail
from numrnn.kernels.tasks import tile_rows
from numrnn.kernels.tile import NONE, ROW_X, ROWS, VECTORS, full_product

# Fields of a request; the table of rows (K_BLOCK lines: ROW_X = line * STEPS, ROW_RANK = line) follows.
DENSE_N_TASKS, DENSE_BEGIN, DENSE_ROWS, DENSE_STEPS, DENSE_COLUMNS, DENSE_RIGHT_AT, DENSE_FIELDS = range(7)


@kernel
def dense_task(task, plan, x, panels, y, scratch):
    """One task's share of the rows of y = start + x @ panels.

    x        (rows, STEPS)     read
    panels                     read      per panel: 4 vectors that the sums start from, then STEPS lines
    y        (rows, COLUMNS)   written
    scratch                    written   a tile a task
    """
    mode = flush_denormals()
    rows, steps, columns = plan[DENSE_ROWS], plan[DENSE_STEPS], plan[DENSE_COLUMNS]
    table = plan[DENSE_FIELDS:]
    first = rows * task // plan[DENSE_N_TASKS]
    last = rows * (task + 1) // plan[DENSE_N_TASKS]
    size = lanes(scratch)
    line = VECTORS * size
    at = task * ROWS * line
    pre = scratch[at : at + ROWS * line]
    n_tiles = (last - first + ROWS - 1) // ROWS
    for panel in range((columns + line - 1) // line):
        start = panel * (steps + 1) * line
        row = first
        for tile in range(n_tiles):
            count = tile_rows(last - row, n_tiles - tile)
            full_product(
                count, pre, NONE, line, panels, start, NONE, table, NONE,
                x, ROW_X, row * steps, steps, x, ROW_X, NONE, NONE, panels, start + line,
            )  # fmt: skip
            for r in range(count):
                for v in range(0, min(line, columns - panel * line), size):
                    to = (row + r) * columns + panel * line + v
                    store_tail(y, to, load(pre, r * line + v), columns - panel * line - v)
            row += count
    restore_mode(mode)


@entry_kernel
def dense_serial(plan, x, panels, y, scratch):
    """Contract: `dense_task`, for all tasks."""
    for task in range(plan[DENSE_N_TASKS]):
        dense_task(task, plan, x, panels, y, scratch)


@parallel_kernel
def dense_parallel(plan, x, panels, y, scratch):
    """The parallel twin."""
    for task in prange(plan[DENSE_N_TASKS]):
        dense_task(int64(task), plan, x, panels, y, scratch)


@entry_kernel
def dense_pack(plan, x, arena):
    """Pack rows BEGIN..BEGIN + ROWS of x, of STEPS numbers each, as the right operand of a weight gradient.

    x      (rows, STEPS)   read
    arena                  written from RIGHT_AT on
    """
    steps, table = plan[DENSE_STEPS], plan[DENSE_FIELDS:]
    line = VECTORS * lanes(arena)
    pack_rows(
        x, ROW_X, plan[DENSE_BEGIN] * steps, table, NONE, plan[DENSE_ROWS], steps, NONE, (steps + line - 1) // line,
        arena, plan[DENSE_RIGHT_AT], plan[DENSE_ROWS], NONE,
    )  # fmt: skip
