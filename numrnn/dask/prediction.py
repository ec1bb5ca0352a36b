"""`predict`: a layer or model over a chunked array."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from numrnn.cellspec import CELLS
from numrnn.dask.arguments import (
    HEAD,
    read_input,
    read_model,
    read_n_threads,
    read_row_lengths,
    read_states,
)
from numrnn.dask.graph import Prediction
from numrnn.dask.program import Program, layers_of
from numrnn.nn.arguments import flag
from numrnn.nn.model import SequenceModel

if TYPE_CHECKING:
    from numrnn._types import ArrayLike

__all__ = ["predict"]


def predict(
    model: Any,
    x: Any,
    *,
    state: Any = None,
    lengths: ArrayLike | None = None,
    return_state: bool = False,
    n_threads: int | None = None,
) -> Any:
    """Run a layer or a model over a Dask array; nothing is computed before the result is.

    Chunks of the batch are independent. Chunks of time are run one after the other, each from the state that the one
    before left, so that sequences may be longer than memory.

    Parameters
    ----------
    model : RNN, LSTM, GRU, Reversed or SequenceModel
        With its present weights, also where they change before the result is computed.
    x : dask.array.Array (T, N, input_size), or (N, T, input_size) if batch_first
        Cut along time, along the batch, or both; features in one chunk. Also one sequence (T, input_size).
    state : optional
        As in a call of the model; its arrays may be Dask arrays, such as the state that `return_state` gives.
    lengths : array of int (N,), optional
        As in a call of the model: steps of each row, the rest is padding.
    return_state : bool
        Whether the state after the last step is returned too.
    n_threads : int, optional
        Threads of a task, 1 or more, or -1 for all that its worker has; at most these. None is 1, but where tasks run
        in the main thread, as under the scheduler "synchronous", what the package is set to.

    Returns
    -------
    prediction : dask.array.Array
        Of a layer its `output`, of a SequenceModel its prediction, in the dtype of the model: `output` and what is
        predicted at every step cut as x is, other predictions (N, features) as the batch is. The bits are those of the
        undivided call, for any chunks, scheduler and number of workers.
    state
        Only if `return_state`: h_n, for LSTM (h_n, c_n), of a model with a list of layers a list of them; Dask arrays,
        cut as the batch is.

    Raises
    ------
    TypeError
        No model; x that is no Dask array, or not of real numbers.
    ValueError
        A wrong shape; features in several chunks; chunks of unknown size.
    NotImplementedError
        A bidirectional or reversed layer over several chunks of time: it begins at the end of the sequence.

    Notes
    -----
    Give Dask workers with few threads: their number times `n_threads` should be at most the number of cores.

    With several chunks of time, what makes a chunk of x and is used for no other chunk is done in the task that reads
    it, so that chunks are not made long before their turn. What else reads x in the same computation makes it again;
    `x.persist()` avoids that where x fits into memory.

    Features in several chunks are refused and not put together: that would multiply the memory of a chunk, which is
    yours to choose. A prediction from the last step, the mean or the maximum is put together exactly: the state, the
    float64 sums or the maxima go from chunk to chunk.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import numrnn
    >>> x = np.random.default_rng(0).standard_normal((100, 6, 4))
    >>> gru = numrnn.GRU(4, 8, seed=0)
    >>> output = numrnn.dask.predict(gru, da.from_array(x, chunks=(25, 3, 4)))
    >>> output
    dask.array<numrnn-output, shape=(100, 6, 8), dtype=float32, chunksize=(25, 3, 8), chunktype=numpy.ndarray>
    >>> bool(np.array_equal(output.compute(), gru(x).output))
    True
    """
    model = read_model(model)
    layout = read_input(model, x)
    layers = layers_of(model)
    states = read_states(model, state, layout)
    lengths = read_row_lengths(layers[0].signature, lengths, layout)
    return_state = flag(HEAD, "return_state", return_state)
    readout_on = model.readout_on if isinstance(model, SequenceModel) else "every"
    pooled_over_chunks = readout_on in ("mean", "max") and len(layout.times) > 1
    program = Program(copy.deepcopy(model), read_n_threads(n_threads), pooled_over_chunks)
    made = Prediction(program, x, layout, states, lengths)

    top, dtype = layers[-1].signature, np.dtype(layers[0].dtype)
    features = top.num_directions * top.output_size
    if isinstance(model, SequenceModel) and model.readout is not None:
        features = model.readout.out_features
    prediction = made.steps(features, dtype) if readout_on == "every" else made.rows(features, dtype)
    if not return_state:
        return prediction
    last_states = []
    for k, layer in enumerate(layers):
        of = layer.signature
        tracks = of.num_layers * of.num_directions
        h_n = made.state(k, 0, tracks, of.output_size, dtype)
        has_cell = CELLS[of.cell].has_cell_state
        last_states.append((h_n, made.state(k, 1, tracks, of.hidden_size, dtype)) if has_cell else h_n)
    several = isinstance(model, SequenceModel) and isinstance(model.recurrent, tuple)
    return prediction, last_states if several else last_states[0]
