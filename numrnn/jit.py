"""A trained stack of layers inside the user's own compiled code: `numrnn.jit.step` and its kin.

`layer.jit()` makes a network, a value that a function compiled by Numba takes as an argument. The functions here work
inside such functions and from Python alike, and give the same bits as the layer.

>>> import numba
>>> import numpy as np
>>> import numrnn
>>> @numba.njit
... def closed_loop(net, x, n_steps):
...     state = numrnn.jit.new_state(net, 1)
...     for _ in range(n_steps):
...         numrnn.jit.step(net, x, state, x)  # the next input is this output
>>> net = numrnn.GRU(8, 8).jit()
>>> x = np.zeros((1, 8), np.float32)
>>> closed_loop(net, x, 100)
"""

from __future__ import annotations

import numpy as np

from numrnn._errors import explain, kind_of
from numrnn._jit import implements
from numrnn._types import Array, ArrayLike, StateLike
from numrnn.engine import network
from numrnn.engine.arrays import real_array
from numrnn.engine.states import read_state
from numrnn.kernels import network as compiled
from numrnn.kernels.network import Network, NetworkState
from numrnn.kernels.step import BATCH_FIRST, CELL_STATE, INPUT, N_LAYERS, OUTPUT
from numrnn.nn.arguments import count

__all__ = ["Network", "NetworkState", "copy_state", "new_state", "run", "step"]


def new_state(net: Network, batch_size: int, state: StateLike | None = None) -> NetworkState:
    """Return the states of `batch_size` rows before their first step.

    Parameters
    ----------
    net : Network
        What `layer.jit()` returned.
    batch_size : int
        Rows that move together, N; 0 is legal.
    state : array h_0, for LSTM a pair (h_0, c_0), optional
        (L, N, H_out) and (L, N, H); a batch axis of 1 stands for every row; None is zero. Copied.

    Returns
    -------
    NetworkState
        `h` (L, N, H_out) and `c` (L, N, H), which `step` moves; the only memory that a step needs. One state is for
        one thread at a time.

    Raises
    ------
    ValueError
        A negative batch_size; a wrong shape of `state`.
    TypeError
        A network or a state of the wrong kind. In compiled code wrong kinds are Numba's TypingError.

    Examples
    --------
    >>> import numrnn
    >>> state = numrnn.jit.new_state(numrnn.LSTM(4, 8).jit(), 3)
    >>> state.h.shape, state.c.shape
    ((1, 3, 8), (1, 3, 8))
    """
    head = "numrnn.jit.new_state"
    _network(head, net)
    rows = count(head, "batch_size", batch_size, least=0)
    made = network.new_state(net, rows)
    if state is not None:
        h_0, c_0 = read_state(network.signature_of(head, net), 1, rows, state, stream=True)
        made.h[:] = h_0
        if c_0 is not None:
            made.c[:] = c_0
    return made


def step(net: Network, x_t: ArrayLike, state: NetworkState, out: Array) -> None:
    """Move the states one step forward and write the top layer's h_t.

    Parameters
    ----------
    net : Network
        What `layer.jit()` returned.
    x_t : array (N, input_size)
        Real numbers; cast to the network's dtype. In compiled code of any layout.
    state : NetworkState
        What `new_state` returned for this network; changed in place.
    out : array (N, H_out)
        Written: float32 or float64, of any layout. It may be `x_t`.

    Raises
    ------
    ValueError
        A wrong shape. Nothing has changed then.
    TypeError
        Arguments of the wrong kind. In compiled code wrong kinds are Numba's TypingError.

    Notes
    -----
    Allocates nothing in compiled code. The bits are those of the layer, for any number of rows.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> lstm = numrnn.LSTM(4, 8)
    >>> net, x = lstm.jit(), np.ones((3, 4))
    >>> state, out = numrnn.jit.new_state(net, 3), np.empty((3, 8), np.float32)
    >>> numrnn.jit.step(net, x, state, out)
    >>> bool(np.array_equal(out, lstm(x[None]).last_output))
    True
    """
    head = "numrnn.jit.step"
    array = _checked(head, net, "x_t", x_t, state, out)
    rows = state.h.shape[1]
    _check_shape(head, "x_t", array.shape, (rows, int(net.plan[INPUT])), "(rows of the state, input_size)")
    _check_shape(head, "out", out.shape, (rows, int(net.plan[OUTPUT])), "(rows of the state, H_out)")
    out[...] = network.step(net, array, state)


def run(net: Network, x: ArrayLike, state: NetworkState, out: Array) -> None:
    """Move the states over several steps and write the top layer's h of each.

    Parameters
    ----------
    net : Network
        What `layer.jit()` returned.
    x : array (T, N, input_size), or (N, T, input_size) if the layer is batch_first
        T=0 is legal.
    state : NetworkState
        What `new_state` returned for this network; changed in place.
    out : array (T, N, H_out), or (N, T, H_out) if the layer is batch_first
        Written: float32 or float64, of any layout.

    Raises
    ------
    ValueError
        A wrong shape. Nothing has changed then.
    TypeError
        Arguments of the wrong kind. In compiled code wrong kinds are Numba's TypingError.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> gru = numrnn.GRU(4, 8)
    >>> net, x = gru.jit(), np.ones((10, 3, 4))
    >>> out = np.empty((10, 3, 8), np.float32)
    >>> numrnn.jit.run(net, x, numrnn.jit.new_state(net, 3), out)
    >>> bool(np.array_equal(out, gru(x).output))
    True
    """
    head = "numrnn.jit.run"
    array = _checked(head, net, "x", x, state, out)
    batch_first, rows = bool(net.plan[BATCH_FIRST]), state.h.shape[1]
    given = array.swapaxes(0, 1) if batch_first and array.ndim == 3 else array
    gives = out.swapaxes(0, 1) if batch_first and out.ndim == 3 else out
    axes = "(rows of the state, time, {})" if batch_first else "(time, rows of the state, {})"
    if array.ndim != 3:
        problem = f"`x` has {array.ndim} axes, expected three: {axes.format('input_size')}."
        raise ValueError(explain(head, problem, "One step goes to numrnn.jit.step."))
    steps = given.shape[0]
    for name, shape, features in (("x", array.shape, INPUT), ("out", out.shape, OUTPUT)):
        expected = (rows, steps) if batch_first else (steps, rows)
        words = axes.format("input_size" if name == "x" else "H_out")
        _check_shape(head, name, shape, (*expected, int(net.plan[features])), words)
    for x_t, h_t in zip(given, gives, strict=True):
        h_t[...] = network.step(net, x_t, state)


def copy_state(dst: NetworkState, src: NetworkState) -> None:
    """Give one state the numbers of another.

    Parameters
    ----------
    dst, src : NetworkState
        Of the same network and number of rows; `dst` is written.

    Raises
    ------
    ValueError
        States of different shapes or dtypes.
    TypeError
        Something else than states. In compiled code wrong kinds are Numba's TypingError.

    Examples
    --------
    A trial step that leaves the state as it was:

    >>> import numpy as np
    >>> import numrnn
    >>> net = numrnn.GRU(4, 8).jit()
    >>> state, trial = numrnn.jit.new_state(net, 1), numrnn.jit.new_state(net, 1)
    >>> numrnn.jit.copy_state(trial, state)
    >>> numrnn.jit.step(net, np.ones((1, 4)), trial, np.empty((1, 8)))
    >>> bool(state.h.any()), bool(trial.h.any())
    (False, True)
    """
    head = "numrnn.jit.copy_state"
    for name, each in (("dst", dst), ("src", src)):
        _state(head, name, each)
    (a, c_a, dtype_a), (b, c_b, dtype_b) = ((each.h.shape, each.c.shape, each.h.dtype) for each in (dst, src))
    if (a, c_a, dtype_a) != (b, c_b, dtype_b):
        problem = f"`dst` has h {a} and c {c_a}, {dtype_a}; `src` has h {b} and c {c_b}, {dtype_b}."
        raise ValueError(explain(head, problem, "States of one network and one number of rows are alike."))
    dst.h[:] = src.h
    dst.c[:] = src.c


def _checked(head: str, net: object, name: str, x: object, state: object, out: object) -> Array:
    """Check all but shapes; returns x as an array."""
    of, own = _network(head, net), _state(head, "state", state)
    rows, parts = own.h.shape[1], network.parts(of.plan, own.h.shape[1])
    begin = (compiled.address(own.h) - compiled.address(own.memory)) // own.memory.itemsize
    sizes = own.h.shape[0], own.h.shape[2], own.c.shape[2]
    alike = sizes == tuple(of.plan[[N_LAYERS, OUTPUT, CELL_STATE]]) and own.memory.dtype == of.panels.dtype
    if not alike or own.memory.size != parts[-1] or (rows and begin != parts[1]):
        problem = f"`state` has h {own.h.shape} and c {own.c.shape}, {own.h.dtype}, which is not of this network."
        raise ValueError(explain(head, problem, "Make it with numrnn.jit.new_state(net, batch_size)."))
    got = kind_of(out)
    if isinstance(out, np.ndarray):
        if out.dtype in (np.float32, np.float64) and out.flags.writeable:
            return real_array(x, head, name)
        got = f"dtype {out.dtype}{'' if out.flags.writeable else ', read-only'}"
    raise TypeError(explain(head, f"`out` should be a writable array of float32 or float64, got {got}."))


def _network(head: str, net: object) -> Network:
    if not isinstance(net, Network):
        raise TypeError(explain(head, f"`net` should be a network, got {kind_of(net)}.", "Pass layer.jit()."))
    return net


def _state(head: str, name: str, state: object) -> NetworkState:
    if not isinstance(state, NetworkState):
        advice = "Pass what numrnn.jit.new_state returned."
        raise TypeError(explain(head, f"`{name}` should be a NetworkState, got {kind_of(state)}.", advice))
    return state


def _check_shape(head: str, name: str, shape: tuple[int, ...], expected: tuple[int, ...], axes: str) -> None:
    if shape != expected:
        raise ValueError(explain(head, f"`{name}` has shape {shape}, expected {expected}: {axes}."))


implements(new_state, allocates=True)(compiled.choose_new_state)
implements(step)(compiled.choose_step)
implements(run)(compiled.choose_run)
implements(copy_state)(compiled.choose_copy_state)
