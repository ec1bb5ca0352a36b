"""The autoregressive roll-out: a stack of layers, its head, and the way of a prediction back to the input.

A task is a group of rows, which runs all steps of a launch on one thread: no row waits for another's. Layers run
through the recurrence's own driver, one step at a time. A layer has a plan for each of the two places of its states,
and steps take them in turn: step s writes place s % 2 and reads the other one.

Source of the Gaussian numbers: Box & Muller 1958, "A note on the generation of random normal deviates".
"""

import math

import numpy as np

from numrnn._jit import CellTag, entry_kernel, int64, kernel, parallel_kernel, prange
from numrnn.kernels.dense import dense_task
from numrnn.kernels.dropout import DROPOUT_FIELDS, dropout_task, mix
from numrnn.kernels.gru import GRU
from numrnn.kernels.gru_reset_before import GRU_RESET_BEFORE
from numrnn.kernels.lstm import LSTM
from numrnn.kernels.recurrence import forward_task
from numrnn.kernels.rnn import RNN_RELU, RNN_TANH
from numrnn.kernels.tasks import ROWS_FROM, ROWS_TO, TASK_FIELDS, TASKS_AT
from numrnn.kernels.tile import NONE

# A request: steps of this launch and of the whole; rows, rows of a path, the number of the first path; sizes; where in
# `memory` and `panels` things begin; steps and rows of `known` and `result`; where the dense plans of the tasks begin.
# LAYER_FIELDS numbers for each layer follow, and behind them their plans.
(
    ROLL_N_TASKS, ROLL_BEGIN, ROLL_END, ROLL_STEPS, ROLL_ROWS, ROLL_BATCH, ROLL_FIRST_PATH, ROLL_N_LAYERS,
    ROLL_INPUT, ROLL_COLUMNS, ROLL_KNOWN, ROLL_HAS_NOISE, ROLL_X_AT, ROLL_Y_AT, ROLL_TOP_AT, ROLL_TOP_SIZE,
    ROLL_HEAD_AT, ROLL_KNOWN_STEP, ROLL_KNOWN_ROW, ROLL_PATH_STEP, ROLL_RESULT_STEP, ROLL_RESULT_ROW,
    ROLL_DENSE_AT, ROLL_DENSE_SIZE, ROLL_SCRATCH_SIZE, ROLL_FIELDS,
) = range(26)  # fmt: skip

# A layer: which cell; its plans for even and odd steps; in `memory` its input and how far apart the two places of that
# are, its hidden states and likewise, its cell states; its panels. With dropout on its output: the tasks' requests, or
# 0; the threshold; in `memory` the scale and the masked output, which has two places like the states.
(
    CELL, EVEN_AT, ODD_AT, LAYER_H_AT, LAYER_H_STEP, LAYER_X_AT, LAYER_C_AT, LAYER_PANELS_AT,
    MASKS_AT, MASK_THRESHOLD, MASK_SCALE_AT, MASKED_AT, LAYER_FIELDS,
) = range(13)  # fmt: skip

_ONE, _SHIFT_11, _TWO_PI = np.float64(2.0**-53), np.uint64(11), 2 * math.pi


@kernel
def gaussian(bits):
    """A number from the standard normal distribution, as a function of 64 well stirred bits."""
    radius = math.sqrt(-2.0 * math.log((np.float64(bits >> _SHIFT_11) + 1.0) * _ONE))
    return radius * math.cos(_TWO_PI * (np.float64(mix(bits) >> _SHIFT_11) * _ONE))


@kernel
def noise_key(key, path, row):
    """The stream of one row of one path."""
    return mix(mix(key ^ np.uint64(path)) ^ np.uint64(row))


@kernel
def noise_at(row_key, step, feature):
    """The standard normal number of one step and feature."""
    return gaussian(mix(mix(row_key ^ np.uint64(step)) ^ np.uint64(feature)))


@kernel
def feed_back(request, first, last, s, key, noise, known, memory, result):
    """Noise upon the predictions of step s, and the input of the next step: the predictions, then what is known.

    memory   predictions          read
             the input's place    written, unless s is the last step
    result                        written
    """
    columns, n_known, size = request[ROLL_COLUMNS], request[ROLL_KNOWN], request[ROLL_INPUT]
    more = s + 1 < request[ROLL_STEPS]
    for r in range(first, last):
        path, n = r // request[ROLL_BATCH], r % request[ROLL_BATCH]
        row_key = noise_key(key, request[ROLL_FIRST_PATH] + path, n)
        y_at = request[ROLL_Y_AT] + r * columns
        to = path * request[ROLL_PATH_STEP] + s * request[ROLL_RESULT_STEP] + n * request[ROLL_RESULT_ROW]
        x_at = request[ROLL_X_AT] + (s % 2 * request[ROLL_ROWS] + r) * size
        for k in range(columns):
            if request[ROLL_HAS_NOISE]:
                result[to + k] = memory[y_at + k] + noise[k] * noise_at(row_key, s, k)
            else:
                result[to + k] = memory[y_at + k]
            if more:
                memory[x_at + k] = result[to + k]
        if more:
            known_at = s * request[ROLL_KNOWN_STEP] + n * request[ROLL_KNOWN_ROW]
            for k in range(n_known):
                memory[x_at + columns + k] = known[known_at + k]


@kernel
def rollout_task(stack, task, request, keys, noise, known, memory, panels, scratch, result, resets):
    """All steps of a launch for one group of rows: predict, feed back, and take the layers one step further.

    stack     a tag whose `layer` is `forward_task` of the cell that it is told
    request                                      read      but for the steps that the masks' requests count
    keys      of the noise, then of each layer's masks (uint64)    read
    noise     (columns,)                         read      standard deviations (float64)
    known     ROLL_KNOWN_STEP, ROLL_KNOWN_ROW    read      numbers of the step that was predicted last
    memory    states, inputs, predictions        read, written; before step 0 the states stand in their second place
    panels    of each layer and of the head      read
    scratch   ROLL_SCRATCH_SIZE a task           written
    result    steps, rows and paths as the request says    written
    resets                                       never read
    """
    own = request[request[ROLL_FIELDS + EVEN_AT] + TASKS_AT + task * TASK_FIELDS :]
    first, last = own[ROWS_FROM], own[ROWS_TO]
    dense = request[request[ROLL_DENSE_AT] + task * request[ROLL_DENSE_SIZE] :]
    rows, top_size = request[ROLL_ROWS], request[ROLL_TOP_SIZE]
    y = memory[request[ROLL_Y_AT] + first * request[ROLL_COLUMNS] :]
    head, tile = panels[request[ROLL_HEAD_AT] :], scratch[task * request[ROLL_SCRATCH_SIZE] :]
    for s in range(request[ROLL_BEGIN], request[ROLL_END]):
        place = s % 2
        top = memory[request[ROLL_TOP_AT] + ((1 - place) * rows + first) * top_size :]
        dense_task(NONE, dense, top, head, y, tile)
        feed_back(request, first, last, s, keys[0], noise, known, memory, result)
        if s + 1 == request[ROLL_STEPS]:
            break
        for layer in range(request[ROLL_N_LAYERS]):
            line = request[ROLL_FIELDS + layer * LAYER_FIELDS :]
            states = memory[line[LAYER_H_AT] :]
            stack.layer(
                line[CELL], task, request[line[EVEN_AT + place] :], memory[line[LAYER_X_AT] :],
                panels[line[LAYER_PANELS_AT] :], states[line[LAYER_H_STEP] :], states, memory[line[LAYER_C_AT] :],
                scratch, resets,
            )  # fmt: skip
            if line[MASKS_AT]:
                masks = request[line[MASKS_AT] + task * DROPOUT_FIELDS + first :]
                at = place * line[LAYER_H_STEP] + first * (line[LAYER_H_STEP] // rows)
                dropout_task(
                    NONE, masks, keys[1 + layer], np.uint64(line[MASK_THRESHOLD]), memory[line[MASK_SCALE_AT]],
                    states[at:], memory[line[MASKED_AT] + at :],
                )  # fmt: skip
                for row in range(last - first):
                    masks[DROPOUT_FIELDS + row] += 1


@kernel
def lstm_layer(cell, task, plan, x, panels, h_0, output, saved, scratch, resets):
    """One step of a layer."""
    forward_task(LSTM, task, plan, x, panels, h_0, output, saved, scratch, resets)


@kernel
def gru_layer(cell, task, plan, x, panels, h_0, output, saved, scratch, resets):
    """One step of a layer."""
    forward_task(GRU, task, plan, x, panels, h_0, output, saved, scratch, resets)


@kernel
def gru_reset_before_layer(cell, task, plan, x, panels, h_0, output, saved, scratch, resets):
    """One step of a layer."""
    forward_task(GRU_RESET_BEFORE, task, plan, x, panels, h_0, output, saved, scratch, resets)


@kernel
def rnn_tanh_layer(cell, task, plan, x, panels, h_0, output, saved, scratch, resets):
    """One step of a layer."""
    forward_task(RNN_TANH, task, plan, x, panels, h_0, output, saved, scratch, resets)


@kernel
def rnn_relu_layer(cell, task, plan, x, panels, h_0, output, saved, scratch, resets):
    """One step of a layer."""
    forward_task(RNN_RELU, task, plan, x, panels, h_0, output, saved, scratch, resets)


# Numbers of the cells in a stack that has several kinds.
CELL_NUMBERS = {name: number for number, name in enumerate(("lstm", "gru", "gru_reset_before", "rnn_tanh", "rnn_relu"))}


@kernel
def any_layer(cell, task, plan, x, panels, h_0, output, saved, scratch, resets):
    """One step of a layer, whatever its cell."""
    if cell == 0:
        lstm_layer(cell, task, plan, x, panels, h_0, output, saved, scratch, resets)
    elif cell == 1:
        gru_layer(cell, task, plan, x, panels, h_0, output, saved, scratch, resets)
    elif cell == 2:
        gru_reset_before_layer(cell, task, plan, x, panels, h_0, output, saved, scratch, resets)
    elif cell == 3:
        rnn_tanh_layer(cell, task, plan, x, panels, h_0, output, saved, scratch, resets)
    else:
        rnn_relu_layer(cell, task, plan, x, panels, h_0, output, saved, scratch, resets)


OF_LSTM = CellTag("rollout_lstm", layer=lstm_layer)
OF_GRU = CellTag("rollout_gru", layer=gru_layer)
OF_GRU_RESET_BEFORE = CellTag("rollout_gru_reset_before", layer=gru_reset_before_layer)
OF_RNN_TANH = CellTag("rollout_rnn_tanh", layer=rnn_tanh_layer)
OF_RNN_RELU = CellTag("rollout_rnn_relu", layer=rnn_relu_layer)
MIXED = CellTag("rollout_mixed", layer=any_layer)


@entry_kernel
def lstm_rollout_serial(request, keys, noise, known, memory, panels, scratch, result, resets):
    """Contract: `rollout_task`, for all tasks."""
    for task in range(request[ROLL_N_TASKS]):
        rollout_task(OF_LSTM, task, request, keys, noise, known, memory, panels, scratch, result, resets)


@parallel_kernel
def lstm_rollout_parallel(request, keys, noise, known, memory, panels, scratch, result, resets):
    """The parallel twin."""
    for task in prange(request[ROLL_N_TASKS]):
        rollout_task(OF_LSTM, int64(task), request, keys, noise, known, memory, panels, scratch, result, resets)


@entry_kernel
def gru_rollout_serial(request, keys, noise, known, memory, panels, scratch, result, resets):
    """Contract: `rollout_task`, for all tasks."""
    for task in range(request[ROLL_N_TASKS]):
        rollout_task(OF_GRU, task, request, keys, noise, known, memory, panels, scratch, result, resets)


@parallel_kernel
def gru_rollout_parallel(request, keys, noise, known, memory, panels, scratch, result, resets):
    """The parallel twin."""
    for task in prange(request[ROLL_N_TASKS]):
        rollout_task(OF_GRU, int64(task), request, keys, noise, known, memory, panels, scratch, result, resets)


@entry_kernel
def gru_reset_before_rollout_serial(request, keys, noise, known, memory, panels, scratch, result, resets):
    """Contract: `rollout_task`, for all tasks."""
    for task in range(request[ROLL_N_TASKS]):
        rollout_task(OF_GRU_RESET_BEFORE, task, request, keys, noise, known, memory, panels, scratch, result, resets)


@parallel_kernel
def gru_reset_before_rollout_parallel(request, keys, noise, known, memory, panels, scratch, result, resets):
    """The parallel twin."""
    for task in prange(request[ROLL_N_TASKS]):
        rollout_task(
            OF_GRU_RESET_BEFORE, int64(task), request, keys, noise, known, memory, panels, scratch, result, resets
        )


@entry_kernel
def rnn_tanh_rollout_serial(request, keys, noise, known, memory, panels, scratch, result, resets):
    """Contract: `rollout_task`, for all tasks."""
    for task in range(request[ROLL_N_TASKS]):
        rollout_task(OF_RNN_TANH, task, request, keys, noise, known, memory, panels, scratch, result, resets)


@parallel_kernel
def rnn_tanh_rollout_parallel(request, keys, noise, known, memory, panels, scratch, result, resets):
    """The parallel twin."""
    for task in prange(request[ROLL_N_TASKS]):
        rollout_task(OF_RNN_TANH, int64(task), request, keys, noise, known, memory, panels, scratch, result, resets)


@entry_kernel
def rnn_relu_rollout_serial(request, keys, noise, known, memory, panels, scratch, result, resets):
    """Contract: `rollout_task`, for all tasks."""
    for task in range(request[ROLL_N_TASKS]):
        rollout_task(OF_RNN_RELU, task, request, keys, noise, known, memory, panels, scratch, result, resets)


@parallel_kernel
def rnn_relu_rollout_parallel(request, keys, noise, known, memory, panels, scratch, result, resets):
    """The parallel twin."""
    for task in prange(request[ROLL_N_TASKS]):
        rollout_task(OF_RNN_RELU, int64(task), request, keys, noise, known, memory, panels, scratch, result, resets)


@entry_kernel
def mixed_rollout_serial(request, keys, noise, known, memory, panels, scratch, result, resets):
    """Contract: `rollout_task`, for all tasks."""
    for task in range(request[ROLL_N_TASKS]):
        rollout_task(MIXED, task, request, keys, noise, known, memory, panels, scratch, result, resets)


@parallel_kernel
def mixed_rollout_parallel(request, keys, noise, known, memory, panels, scratch, result, resets):
    """The parallel twin."""
    for task in prange(request[ROLL_N_TASKS]):
        rollout_task(MIXED, int64(task), request, keys, noise, known, memory, panels, scratch, result, resets)


# By cell; None where a stack has several.
ROLLOUT = {
    "lstm": (lstm_rollout_serial, lstm_rollout_parallel),
    "gru": (gru_rollout_serial, gru_rollout_parallel),
    "gru_reset_before": (gru_reset_before_rollout_serial, gru_reset_before_rollout_parallel),
    "rnn_tanh": (rnn_tanh_rollout_serial, rnn_tanh_rollout_parallel),
    "rnn_relu": (rnn_relu_rollout_serial, rnn_relu_rollout_parallel),
    None: (mixed_rollout_serial, mixed_rollout_parallel),
}
