"""A stack of layers as a value that compiled code takes, and what that code calls: `numrnn.jit` seen by Numba.

A network is a named tuple of arrays, its class a cell: Numba's type then tells which kernel a call means, and its name
tells the version of the kernels, so that code which a user's program keeps on disk is not used with others.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numrnn._jit import (
    array_types,
    digest,
    float_type,
    implements,
    int64,
    integer_type,
    kernel,
    refuse,
    tuple_class,
)
from numrnn.cellspec import CELLS
from numrnn.kernels.simd import is_readable, lanes, load_tail, readable_view, store_tail
from numrnn.kernels.step import (
    BATCH_FIRST,
    CELL_STATE,
    INPUT,
    N_LAYERS,
    OUTPUT,
    STEP,
    X_AT,
    parts_of,
)

Array = NDArray[Any]

LINE = 64  # bytes of a cache line: a vector that lies across two costs twice


class NetworkState(NamedTuple):
    """The states of some rows, and the memory that a step of them needs; made by `numrnn.jit.new_state`.

    Attributes
    ----------
    h : array (L, N, H_out)
        Hidden states. To be read at any time, and written between two steps.
    c : array (L, N, H)
        Cell states; (L, N, 0) where the cell has none.
    memory : array
        What `h` and `c` are views of.
    """

    h: Array
    c: Array
    memory: Array

    def __reduce__(self) -> tuple[Any, ...]:
        # a pickle of three arrays would part the views from their memory
        begin, size = address(self.memory), self.memory.itemsize
        parts = [((address(part) - begin) // size, part.shape) for part in (self.h, self.c)]
        return restored, (self.memory, *parts)


def address(array: Array) -> int:
    """Where an array's memory begins."""
    return int(array.__array_interface__["data"][0])


def restored(memory: Array, *parts: tuple[int, tuple[int, ...]]) -> NetworkState:
    """A state from its memory, and where h and c begin in it and their shapes."""
    h, c = (memory[at : at + int(np.prod(shape))].reshape(shape) for at, shape in parts)
    return NetworkState(h, c, memory)


class Network(NamedTuple):
    """A stack of layers with its weights of one moment; made by `layer.jit()`. Its class tells the cell.

    Attributes
    ----------
    plan : array of int
        Sizes (`numrnn.kernels.step`).
    panels : array
        Weights, packed for this machine's vectors.
    """

    plan: Array
    panels: Array


_NAME = "Network_{}_{}"
_OLD = re.compile(r"Network_\w+_[0-9a-f]{16}")

_CLASSES: dict[str, type[Network]] = {}


def network_class(cell: str) -> type[Network]:
    """The class of the networks of one cell: one, also where threads ask at once."""
    if cell not in _CLASSES:
        name = _NAME.format(cell, digest())
        _CLASSES.setdefault(cell, type(name, (Network,), {"__slots__": (), "__module__": __name__, "cell": cell}))
    return _CLASSES[cell]


def __getattr__(name: str) -> Any:
    """Find a network's class by its name; those of other versions are nobody's, so that old caches can be read."""
    for cell in STEP:
        if name == _NAME.format(cell, digest()):
            return network_class(cell)
    if _OLD.fullmatch(name):
        return _another_version(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _another_version(name: str) -> type:
    why = (
        "was made by another version of numrnn or on another kind of machine, for which its weights are packed. "
        "Save the layer (numrnn.save) and call its jit() where it is used."
    )
    if name.endswith(digest()):
        why = "is of a cell of the user's that this process has not defined. Import the module that defines it first."

    def refused(cls: type, *_: object) -> None:
        raise ValueError(f"numrnn.jit: this network {why}")

    return type(name, (tuple,), {"__new__": refused, "__module__": __name__, "_fields": ()})


# ---- what compiled code calls; the stubs' names are those of `numrnn.jit`


def fits(plan: Array, state: NetworkState) -> bool:
    """Whether a state was made for a network of these sizes."""
    raise NotImplementedError("fits is called by compiled code")


@implements(fits)
def _choose_fits(plan, state):
    def implementation(plan, state):
        layers, rows, features = state.h.shape
        if layers != plan[N_LAYERS] or features != plan[OUTPUT] or state.c.shape[2] != plan[CELL_STATE]:
            return False
        parts = parts_of(plan, rows)  # inputs of another size, or a second stage, have other parts
        begin = state.h.ctypes.data - state.memory.ctypes.data  # in bytes: a division would cost as much as a panel
        return state.memory.size == parts[5] and (begin == parts[1] * state.memory.itemsize or rows == 0)

    return implementation


def put(target: Array, given: Array) -> None:
    """Fill (L, N, features) with an array whose batch axis may be 1."""
    raise NotImplementedError("put is called by compiled code")


@implements(put)
def _choose_put(target, given):
    def implementation(target, given):
        layers, rows, features = target.shape
        if given.shape[0] != layers or given.shape[2] != features or (given.shape[1] != rows and given.shape[1] != 1):
            raise ValueError("numrnn.jit.new_state: state has the wrong shape: h is (L, N, H_out), c is (L, N, H)")
        for layer in range(layers):
            for row in range(rows):
                for k in range(features):
                    target[layer, row, k] = given[layer, row if given.shape[1] == rows else 0, k]

    return implementation


def both(h: Array, c: Array, state: Any) -> None:
    """Fill both states from what a user gave."""
    raise NotImplementedError("both is called by compiled code")


@implements(both)
def _choose_both(h, c, state):
    if array_types(state):
        return lambda h, c, state: put(h, state)

    def pair(h, c, state):
        put(h, state[0])
        put(c, state[1])

    return pair if len(getattr(state, "types", ())) == 2 else lambda h, c, state: None


def take(array: Array, memory: Array, at: int, rows: int, columns: int) -> bool:
    """Copy an array (rows, columns) to `memory`, from `at` on, unless kernels can read it where it stands."""
    raise NotImplementedError("take is called by compiled code")


@implements(take)
def _choose_take(array, memory, at, rows, columns):
    readable = is_readable(array, memory.dtype)

    def implementation(array, memory, at, rows, columns):
        if readable:
            begin = array.ctypes.data - memory.ctypes.data
            if begin < 0 or begin >= memory.size * memory.itemsize:  # elsewhere: a step does not write it
                return False
        for row in range(rows):
            for k in range(columns):
                memory[at + row * columns + k] = array[row, k]
        return True

    return implementation


def give(h: Array, array: Array, rows: int, columns: int) -> None:
    """Copy the top layer of h (L, rows, columns) to an array (rows, columns) of any kind."""
    raise NotImplementedError("give is called by compiled code")


@implements(give)
def _choose_give(h, array, rows, columns):
    if is_readable(array, h.dtype):
        return _give_whole

    def implementation(h, array, rows, columns):
        top = h.shape[0] - 1
        for row in range(rows):
            for k in range(columns):
                array[row, k] = h[top, row, k]

    return implementation


def _give_whole(h, array, rows, columns):
    size = rows * columns
    copy_numbers(array, h, (h.shape[0] - 1) * size, size)


@kernel
def copy_numbers(target, source, at, size):
    """Fill an array with `size` numbers of another, from `at` on; both C-contiguous and of one type."""
    for k in range(0, size, lanes(source)):
        store_tail(target, k, load_tail(source, at + k, size - k), size - k)


def choose_new_state(net: Any, batch_size: Any, state: Any = None) -> Any:
    """The code of `new_state` for these types."""
    cell = _cell_of("new_state", net)
    if not integer_type(batch_size):
        refuse(f"numrnn.jit.new_state: batch_size should be an int, got {batch_size}.")
    has_cell_state, parts = CELLS[cell].has_cell_state, getattr(state, "types", ())
    nothing = state is None or str(state) == "none" or str(getattr(state, "value", "")) == "None"
    pair = len(parts) == 2 and array_types(*parts, axes=3)
    if not (nothing or (pair if has_cell_state else array_types(state, axes=3))):
        expected = "a pair (h_0, c_0) of arrays (L, N, H_out) and (L, N, H)" if has_cell_state else "h_0 (L, N, H_out)"
        refuse(f"numrnn.jit.new_state: state should be {expected}, got {state}.")

    def implementation(net, batch_size, state=None):
        if batch_size < 0:
            raise ValueError("numrnn.jit.new_state: batch_size is negative")
        plan, rows = net.plan, int64(batch_size)
        parts = parts_of(plan, rows)
        lines = np.zeros(parts[5] + LINE // net.panels.itemsize, net.panels.dtype)
        begin = -lines.ctypes.data % LINE // net.panels.itemsize
        memory = lines[begin : begin + parts[5]]
        h = memory[parts[1] : parts[2]].reshape((plan[N_LAYERS], rows, plan[OUTPUT]))
        c = memory[parts[2] : parts[3]].reshape((plan[N_LAYERS], rows, plan[CELL_STATE]))
        both(h, c, state)
        return NetworkState(h, c, memory)

    return implementation


def choose_step(net: Any, x_t: Any, state: Any, out: Any) -> Any:
    """The code of `step` for these types."""
    run_step = STEP[_cell_of("step", net)]
    _check_types("step", net, state, ("x_t", x_t, "(N, I)"), ("out", out, "(N, H_out)"), axes=2)

    def implementation(net, x_t, state, out):
        plan, memory = net.plan, state.memory
        rows = state.h.shape[1]
        if not fits(plan, state):
            raise ValueError("numrnn.jit.step: state was made for another network")
        if x_t.shape[0] != rows or x_t.shape[1] != plan[INPUT]:
            raise ValueError("numrnn.jit.step: x_t has the wrong shape: expected (rows of the state, input_size)")
        if out.shape[0] != rows or out.shape[1] != plan[OUTPUT]:
            raise ValueError("numrnn.jit.step: out has the wrong shape: expected (rows of the state, H_out)")
        was_copied = take(x_t, memory, plan[X_AT], rows, plan[INPUT])
        run_step(plan, net.panels, readable_view(x_t, memory[plan[X_AT] :], was_copied), memory, rows)
        give(state.h, out, rows, plan[OUTPUT])

    return implementation


def choose_run(net: Any, x: Any, state: Any, out: Any) -> Any:
    """The code of `run` for these types."""
    run_step = STEP[_cell_of("run", net)]
    _check_types("run", net, state, ("x", x, "(T, N, I)"), ("out", out, "(T, N, H_out)"), axes=3)

    def implementation(net, x, state, out):
        plan, memory = net.plan, state.memory
        rows = state.h.shape[1]
        batch_first = plan[BATCH_FIRST] != 0
        time, batch = (1, 0) if batch_first else (0, 1)
        if not fits(plan, state):
            raise ValueError("numrnn.jit.run: state was made for another network")
        if x.shape[batch] != rows or x.shape[2] != plan[INPUT]:
            raise ValueError(
                "numrnn.jit.run: x has the wrong shape: expected (T, rows of the state, input_size), "
                "or (rows, T, input_size) if the layer is batch_first"
            )
        if out.shape[time] != x.shape[time] or out.shape[batch] != rows or out.shape[2] != plan[OUTPUT]:
            raise ValueError(
                "numrnn.jit.run: out has the wrong shape: expected (T, rows of the state, H_out), "
                "or (rows, T, H_out) if the layer is batch_first"
            )
        copy = memory[plan[X_AT] :]
        # as in `step`, not by calling it: LLVM optimises the kernel once more in each function on the way to it
        for t in range(x.shape[time]):
            if batch_first:
                was_copied = take(x[:, t], memory, plan[X_AT], rows, plan[INPUT])
                run_step(plan, net.panels, readable_view(x[:, t], copy, was_copied), memory, rows)
                give(state.h, out[:, t], rows, plan[OUTPUT])
            else:
                was_copied = take(x[t], memory, plan[X_AT], rows, plan[INPUT])
                run_step(plan, net.panels, readable_view(x[t], copy, was_copied), memory, rows)
                give(state.h, out[t], rows, plan[OUTPUT])

    return implementation


def choose_copy_state(dst: Any, src: Any) -> Any:
    """The code of `copy_state` for these types."""
    for name, state in (("dst", dst), ("src", src)):
        if tuple_class(state) is not NetworkState:
            refuse(f"numrnn.jit.copy_state: {name} should be a state from new_state, got {state}.")
    if dst.types[2].dtype != src.types[2].dtype:
        refuse(f"numrnn.jit.copy_state: dst is {dst.types[2].dtype}, src is {src.types[2].dtype}.")

    def implementation(dst, src):
        if dst.h.shape != src.h.shape or dst.c.shape != src.c.shape:
            raise ValueError("numrnn.jit.copy_state: dst and src are states of different shapes")
        copy_numbers(dst.h, src.h, 0, src.h.size)
        copy_numbers(dst.c, src.c, 0, src.c.size)

    return implementation


def _cell_of(function: str, net: Any) -> str:
    """The cell of a network's type."""
    found = tuple_class(net)
    if found is None or not issubclass(found, Network):
        refuse(f"numrnn.jit.{function}: net should be what layer.jit() returns, got {net}.")
    return str(found.cell)


def _check_types(function: str, net: Any, state: Any, *arrays: tuple[str, Any, str], axes: int) -> None:
    """Refuse types that no call could be made with."""
    if tuple_class(state) is not NetworkState:
        refuse(f"numrnn.jit.{function}: state should be what new_state returns, got {state}.")
    if state.types[2].dtype != net.types[1].dtype:
        refuse(f"numrnn.jit.{function}: the network is {net.types[1].dtype}, its state {state.types[2].dtype}.")
    for name, array, expected in arrays:
        if not array_types(array, axes=axes):
            refuse(f"numrnn.jit.{function}: {name} should be an array {expected} of real numbers, got {array}.")
    name, out, _ = arrays[1]
    if not float_type(out.dtype) or not out.mutable:
        refuse(f"numrnn.jit.{function}: {name} should be a writable array of float32 or float64, got {out}.")
