"""Which entry kernels a cell has, and how a launch chooses between the twins."""

import numpy as np

from numrnn import _threads
from numrnn.kernels import gru, gru_reset_before, lstm, rnn
from numrnn.kernels.dense import dense_parallel, dense_serial
from numrnn.kernels.dropout import dropout_parallel, dropout_serial
from numrnn.kernels.meeting import STARTED, STATE
from numrnn.kernels.products import weight_gradient_parallel, weight_gradient_serial

FORWARD = {
    "lstm": (lstm.lstm_forward_serial, lstm.lstm_forward_parallel),
    "gru": (gru.gru_forward_serial, gru.gru_forward_parallel),
    "gru_reset_before": (
        gru_reset_before.gru_reset_before_forward_serial,
        gru_reset_before.gru_reset_before_forward_parallel,
    ),
    "rnn_tanh": (rnn.rnn_tanh_forward_serial, rnn.rnn_tanh_forward_parallel),
    "rnn_relu": (rnn.rnn_relu_forward_serial, rnn.rnn_relu_forward_parallel),
}
BACKWARD = {
    "lstm": (lstm.lstm_backward_serial, lstm.lstm_backward_parallel),
    "gru": (gru.gru_backward_serial, gru.gru_backward_parallel),
    "gru_reset_before": (
        gru_reset_before.gru_reset_before_backward_serial,
        gru_reset_before.gru_reset_before_backward_parallel,
    ),
    "rnn_tanh": (rnn.rnn_tanh_backward_serial, rnn.rnn_tanh_backward_parallel),
    "rnn_relu": (rnn.rnn_relu_backward_serial, rnn.rnn_relu_backward_parallel),
}
DROPOUT = (dropout_serial, dropout_parallel)
DENSE = (dense_serial, dense_parallel)
WEIGHT_GRADIENT = (weight_gradient_serial, weight_gradient_parallel)


def run(twins, n_tasks, *arguments):
    """Run the serial twin for one task, or where a parallel launch would harm; the results are the same."""
    serial, parallel = twins
    if n_tasks == 1:
        serial(*arguments)
        return
    with _threads.launch(n_tasks) as n_threads:
        (serial if n_threads == 1 else parallel)(*arguments)


def run_meeting(twins, n_tasks, meeting, *arguments):
    """Run tasks that wait for each other in the memory `meeting`; False means that they could not, and did nothing."""
    if not _threads.can_meet(n_tasks):
        return False
    with _threads.launch(n_tasks) as n_threads:
        if n_threads < n_tasks:
            return False
        meeting[:] = 0
        twins[1](*arguments)
    met = meeting[STATE : STATE + 2].view(np.int64)[0] == STARTED
    if not met:
        _threads.did_not_meet()
    return met
