"""One step of a stack of layers on this thread, in memory of the caller's: for streams inside other compiled code.

The same chains of sums and the same epilogues as in `recurrence`, hence the same bits, without that driver's plan,
which would cost a small step more than its sums. Rows are the inner loop and panels the outer one. One row takes two
panels at a time. Panels are walked back and forth on alternate steps, so that what a core's own cache still holds of a
step is what the next one begins with.

A network's plan (int64) has the fields below, then for each layer LAYER_FIELDS numbers and a table of ROWS lines
(`tile.ROW_*`), which tell a tile's rows apart. The states and the scratch of N rows are one array, see `parts_of`.
"""

from numrnn._jit import entry_kernel, kernel
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
# stage takes from the first.
(
    N_LAYERS, INPUT, HIDDEN, OUTPUT, CELL_STATE, BIAS, BATCH_FIRST, LANES, LOCAL, UNITS, N_PANELS, SECOND, N_SECOND,
    SECOND_SIZE, REGIONS, NETWORK_FIELDS,
) = range(16)  # fmt: skip

# A layer: features of its x; where its panels begin, their size; where the second stage's and the cell's vectors begin.
LAYER_INPUT, LAYER_PANELS_AT, LAYER_PANEL_SIZE, LAYER_SECOND_AT, LAYER_VECTORS_AT, LAYER_FIELDS = range(6)
LAYER_SIZE = LAYER_FIELDS + ROWS * ROW_FIELDS

KEEP = RESET  # nothing is kept for backward


@kernel
def parts_of(plan, n_rows):
    """Where the parts of the memory of N rows begin, and its size.

    A tile, or two panels of one row; the direction in which panels are walked next; h (L, N, H_out); c (L, N, H) if the
    cell has one; x of the first layer; h_t while h_{t-1} is read; what the second stage takes from the first.
    """
    line = VECTORS * plan[LANES]
    turn_at = max(2, ROWS) * line
    h_at = turn_at + plan[LANES]
    c_at = h_at + plan[N_LAYERS] * n_rows * plan[OUTPUT]
    x_at = c_at + plan[N_LAYERS] * n_rows * plan[CELL_STATE]
    new_at = x_at + n_rows * plan[INPUT]
    operand_at = new_at + n_rows * plan[OUTPUT]
    end = operand_at + plan[REGIONS] * n_rows * plan[LOCAL]
    return turn_at, h_at, c_at, x_at, new_at, operand_at, end


@kernel
def step_rows(cell, plan, layer, panels, memory, n_rows, x_at, h_at, c_at, new_at, operand_at, backwards):
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
                memory, ROW_X, x_at + row * x_size, x_size,
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


@kernel
def step_row(cell, plan, layer, panels, memory, x_at, h_at, c_at, new_at, operand_at, backwards):
    """`step_rows` of one row: two panels at a time."""
    table, line = layer[LAYER_FIELDS:], VECTORS * lanes(memory)
    n_panels, hidden, output = plan[N_PANELS], plan[HIDDEN], plan[OUTPUT]
    size, second = layer[LAYER_PANEL_SIZE], plan[SECOND]
    field, target = (ROW_LOCAL, operand_at) if second else (ROW_H, new_at)
    for step in range(0, n_panels, 2):
        panel = max(0, n_panels - 2 - step) if backwards else step
        count = min(2, n_panels - step)
        row_product(
            cell, count, memory, memory, x_at, layer[LAYER_INPUT], memory, h_at, output,
            panels, layer[LAYER_PANELS_AT] + panel * size, size,
        )  # fmt: skip
        for p in range(count):
            cell.epilogue(
                cell, memory[p * line :], 1, (panel + p) * plan[UNITS], hidden, table, NONE, memory, ROW_H, h_at,
                memory, ROW_C, c_at, memory, field, target, plan[LOCAL], memory, c_at, NONE, KEEP,
                panels, layer[LAYER_VECTORS_AT],
            )  # fmt: skip
    for panel in range(0, plan[N_SECOND], 2):
        count = min(2, plan[N_SECOND] - panel)
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


@kernel
def step_layers(cell, plan, panels, memory, n_rows):
    """Take N rows one step further.

    plan     fields of this module                              read
    panels   of all layers: as a forward launch takes them      read
    memory   `parts_of`: x                                      read
             h, c                                               read, written
             everything else                                    written
    """
    mode = flush_denormals()
    turn_at, h_at, c_at, x_at, new_at, operand_at, _ = parts_of(plan, n_rows)
    backwards = memory[turn_at] != 0
    memory[turn_at] = 0 if backwards else 1
    all_rows = n_rows * plan[OUTPUT]
    for i in range(plan[N_LAYERS]):
        layer = plan[NETWORK_FIELDS + i * LAYER_SIZE :]
        if n_rows == 1:
            step_row(cell, plan, layer, panels, memory, x_at, h_at, c_at, new_at, operand_at, backwards)
        else:
            step_rows(cell, plan, layer, panels, memory, n_rows, x_at, h_at, c_at, new_at, operand_at, backwards)
        for k in range(0, all_rows, lanes(memory)):
            store_tail(memory, h_at + k, load_tail(memory, new_at + k, all_rows - k), all_rows - k)
        x_at = h_at
        h_at += all_rows
        c_at += n_rows * plan[CELL_STATE]
    restore_mode(mode)


@entry_kernel
def lstm_step(plan, panels, memory, n_rows):
    """Contract: `step_layers`."""
    step_layers(LSTM, plan, panels, memory, n_rows)


@entry_kernel
def gru_step(plan, panels, memory, n_rows):
    """Contract: `step_layers`."""
    step_layers(GRU, plan, panels, memory, n_rows)


@entry_kernel
def gru_reset_before_step(plan, panels, memory, n_rows):
    """Contract: `step_layers`."""
    step_layers(GRU_RESET_BEFORE, plan, panels, memory, n_rows)


@entry_kernel
def rnn_tanh_step(plan, panels, memory, n_rows):
    """Contract: `step_layers`."""
    step_layers(RNN_TANH, plan, panels, memory, n_rows)


@entry_kernel
def rnn_relu_step(plan, panels, memory, n_rows):
    """Contract: `step_layers`."""
    step_layers(RNN_RELU, plan, panels, memory, n_rows)


STEP = {
    "lstm": lstm_step,
    "gru": gru_step,
    "gru_reset_before": gru_reset_before_step,
    "rnn_tanh": rnn_tanh_step,
    "rnn_relu": rnn_relu_step,
}
