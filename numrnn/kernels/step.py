"""One step of a stack of layers on this thread, in memory of the caller's: for streams inside other compiled code.

The same chains of sums and the same epilogues as in `recurrence`, hence the same bits, without that driver's plan,
which would cost a small step more than its sums. Rows are the inner loop and panels the outer one. One row takes two
panels at a time, whose sums run while each waits for itself, or one where the weights come from the second cache, from
which one stream is faster. Panels are walked back and forth on alternate steps, so that what a core's own cache still
holds of a step is what the next one begins with.

A network's plan (int64) has the fields below, then for each layer LAYER_FIELDS numbers and a table of ROWS lines
(`tile.ROW_*`), which tell a tile's rows apart. The states and the scratch of N rows are one array, see `parts_of`.
"""

from numrnn._jit import entry_kernel, inlined_kernel, kernel
from numrnn.kernels.gru import GRU
from numrnn.kernels.gru_reset_before import GRU_RESET_BEFORE
from numrnn.kernels.lstm import LSTM
from numrnn.kernels.rnn import RNN_RELU, RNN_TANH
from numrnn.kernels.simd import flush_denormals, lanes, load_tail, restore_mode, store_tail
from numrnn.kernels.tasks import RESET
from numrnn.kernels.tile import (
    EVERY_SUM,
    NONE,
    ROW_C,
    ROW_FIELDS,
    ROW_H,
    ROW_LOCAL,
    ROW_X,
    ROWS,
    VECTORS,
    full_product,
    product,
    row_product,
)

# The stack: its sizes; numbers of a vector and of a row of scratch; how its panels are cut; values a unit that a second
# stage takes from the first; where x begins in the memory of a state.
(
    N_LAYERS, INPUT, HIDDEN, OUTPUT, CELL_STATE, BIAS, BATCH_FIRST, LANES, LOCAL, UNITS, N_PANELS, SECOND, N_SECOND,
    SECOND_SIZE, REGIONS, X_AT, NETWORK_FIELDS,
) = range(17)  # fmt: skip

# A layer: features of its x; where its panels begin, their size; where the second stage's and the cell's vectors begin;
# how many panels one row takes at once.
(
    LAYER_INPUT, LAYER_PANELS_AT, LAYER_PANEL_SIZE, LAYER_SECOND_AT, LAYER_VECTORS_AT, LAYER_AT_ONCE, LAYER_FIELDS,
) = range(7)  # fmt: skip
LAYER_SIZE = LAYER_FIELDS + ROWS * ROW_FIELDS

KEEP = RESET  # nothing is kept for backward


@kernel
def parts_of(plan, n_rows):
    """Where the parts of the memory of N rows begin, and its size.

    A tile, or two panels of one row; the direction in which panels are walked next; x of the first layer; h (L, N,
    H_out); c (L, N, H) if the cell has one; h_t while h_{t-1} is read; what the second stage takes from the first.
    """
    turn_at = plan[X_AT] - plan[LANES]
    h_at = plan[X_AT] + n_rows * plan[INPUT]
    c_at = h_at + plan[N_LAYERS] * n_rows * plan[OUTPUT]
    new_at = c_at + plan[N_LAYERS] * n_rows * plan[CELL_STATE]
    operand_at = new_at + n_rows * plan[OUTPUT]
    end = operand_at + plan[REGIONS] * n_rows * plan[LOCAL]
    return turn_at, h_at, c_at, new_at, operand_at, end


@kernel
def step_rows(cell, plan, layer, panels, memory, n_rows, x, x_at, h_at, c_at, new_at, operand_at, backwards):
    """h_t of one layer at `new_at`, c_t in place of c_{t-1}: tile by tile."""
    table, line = layer[LAYER_FIELDS:], VECTORS * lanes(memory)
    n_panels, hidden, output, local = plan[N_PANELS], plan[HIDDEN], plan[OUTPUT], plan[LOCAL]
    x_size, second = layer[LAYER_INPUT], plan[SECOND]
    region = n_rows * local
    for step in range(n_panels):
        panel = n_panels - 1 - step if backwards else step
        at = layer[LAYER_PANELS_AT] + panel * layer[LAYER_PANEL_SIZE]
        for row in range(0, n_rows, ROWS):
            rows = min(ROWS, n_rows - row)
            h, c = h_at + row * output, c_at + row * hidden
            product(
                cell, rows, memory, NONE, line, panels, at, NONE, table, NONE,
                x, ROW_X, x_at + row * x_size, x_size,
                memory, ROW_H, h, output, panels, at + line,
            )  # fmt: skip
            target = (ROW_LOCAL, operand_at + row * local) if second else (ROW_H, new_at + row * output)
            cell.epilogue(
                cell, memory, rows, panel * plan[UNITS], hidden, table, NONE, memory, ROW_H, h, memory, ROW_C, c,
                memory, target[0], target[1], region, memory, c, NONE, KEEP,
                panels, layer[LAYER_VECTORS_AT],
            )  # fmt: skip
    for panel in range(plan[N_SECOND]):
        at = layer[LAYER_SECOND_AT] + panel * plan[SECOND_SIZE]
        for row in range(0, n_rows, ROWS):
            rows = min(ROWS, n_rows - row)
            operand = operand_at + row * local
            full_product(
                rows, memory, NONE, line, panels, at, NONE, table, NONE, memory, ROW_LOCAL, operand, hidden,
                memory, ROW_LOCAL, NONE, NONE, panels, at + line,
            )  # fmt: skip
            cell.finish(
                cell, memory, rows, panel * line, second, table, NONE, memory, ROW_H, h_at + row * output,
                memory, operand, region, memory, new_at + row * output, memory, NONE, KEEP,
                panels, layer[LAYER_VECTORS_AT],
            )  # fmt: skip


@inlined_kernel
def step_row(cell, plan, layer, panels, memory, x, x_at, h_at, c_at, new_at, operand_at, backwards):
    """`step_rows` of one row: one or two panels at a time."""
    table, line = layer[LAYER_FIELDS:], VECTORS * lanes(memory)
    n_panels, hidden, output = plan[N_PANELS], plan[HIDDEN], plan[OUTPUT]
    size, second = layer[LAYER_PANEL_SIZE], plan[SECOND]
    field, target = (ROW_LOCAL, operand_at) if second else (ROW_H, new_at)
    at_once = layer[LAYER_AT_ONCE]
    for step in range(0, n_panels, at_once):
        panel = max(0, n_panels - at_once - step) if backwards else step
        count = min(at_once, n_panels - step)
        row_product(
            cell, count, memory, x, x_at, layer[LAYER_INPUT], memory, h_at, output,
            panels, layer[LAYER_PANELS_AT] + panel * size, size,
        )  # fmt: skip
        for p in range(count):
            cell.epilogue(
                cell, memory[p * line :], 1, (panel + p) * plan[UNITS], hidden, table, NONE, memory, ROW_H, h_at,
                memory, ROW_C, c_at, memory, field, target, plan[LOCAL], memory, c_at, NONE, KEEP,
                panels, layer[LAYER_VECTORS_AT],
            )  # fmt: skip
    for panel in range(0, plan[N_SECOND], at_once):
        count = min(at_once, plan[N_SECOND] - panel)
        row_product(
            EVERY_SUM, count, memory, memory, operand_at, hidden, memory, NONE, NONE,
            panels, layer[LAYER_SECOND_AT] + panel * plan[SECOND_SIZE], plan[SECOND_SIZE],
        )  # fmt: skip
        for p in range(count):
            cell.finish(
                cell, memory[p * line :], 1, (panel + p) * line, second, table, NONE, memory, ROW_H, h_at,
                memory, operand_at, plan[LOCAL], memory, new_at, memory, NONE, KEEP,
                panels, layer[LAYER_VECTORS_AT],
            )  # fmt: skip


@inlined_kernel
def step_layers(cell, plan, panels, x, memory, n_rows):
    """Take N rows one step further.

    plan     fields of this module                              read
    panels   of all layers: as a forward launch takes them      read
    x        (N * I,)                                           read; may be the part of `memory` that is for it
    memory   `parts_of`: h, c                                   read, written
             everything else                                    written
    """
    mode = flush_denormals()
    turn_at, h_at, c_at, scratch_at, operand_at, _ = parts_of(plan, n_rows)
    backwards = memory[turn_at] != 0
    memory[turn_at] = 0 if backwards else 1
    all_rows, x_at = n_rows * plan[OUTPUT], NONE
    for i in range(plan[N_LAYERS]):
        layer = plan[NETWORK_FIELDS + i * LAYER_SIZE :]
        # where all sums of a row are there before the first state is written, h_t may take the place of h_{t-1}
        in_place = n_rows == 1 and plan[N_PANELS] <= layer[LAYER_AT_ONCE] and plan[SECOND] == 0
        new_at = h_at if in_place else scratch_at
        if n_rows == 1:
            step_row(cell, plan, layer, panels, memory, x, x_at, h_at, c_at, new_at, operand_at, backwards)
        else:
            step_rows(cell, plan, layer, panels, memory, n_rows, x, x_at, h_at, c_at, new_at, operand_at, backwards)
        if not in_place:
            for k in range(0, all_rows, lanes(memory)):
                store_tail(memory, h_at + k, load_tail(memory, new_at + k, all_rows - k), all_rows - k)
        x, x_at = memory, h_at
        h_at += all_rows
        c_at += n_rows * plan[CELL_STATE]
    restore_mode(mode)


@entry_kernel
def lstm_step(plan, panels, x, memory, n_rows):
    """Contract: `step_layers`."""
    step_layers(LSTM, plan, panels, x, memory, n_rows)


@entry_kernel
def gru_step(plan, panels, x, memory, n_rows):
    """Contract: `step_layers`."""
    step_layers(GRU, plan, panels, x, memory, n_rows)


@entry_kernel
def gru_reset_before_step(plan, panels, x, memory, n_rows):
    """Contract: `step_layers`."""
    step_layers(GRU_RESET_BEFORE, plan, panels, x, memory, n_rows)


@entry_kernel
def rnn_tanh_step(plan, panels, x, memory, n_rows):
    """Contract: `step_layers`."""
    step_layers(RNN_TANH, plan, panels, x, memory, n_rows)


@entry_kernel
def rnn_relu_step(plan, panels, x, memory, n_rows):
    """Contract: `step_layers`."""
    step_layers(RNN_RELU, plan, panels, x, memory, n_rows)


STEP = {
    "lstm": lstm_step,
    "gru": gru_step,
    "gru_reset_before": gru_reset_before_step,
    "rnn_tanh": rnn_tanh_step,
    "rnn_relu": rnn_relu_step,
}
