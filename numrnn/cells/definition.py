"""`define`: from a cell's point-wise functions to a class of layers."""

from __future__ import annotations

import hashlib
import inspect
import keyword
import sys
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, ClassVar, NamedTuple
from uuid import uuid4

from numpy.typing import DTypeLike

from numrnn import _jit
from numrnn._errors import explain, kind_of
from numrnn.cells.compiled import compile_functions, entries, jit_step, pointwise
from numrnn.cells.source import digest_of, plain
from numrnn.cells.steps import OwnStep
from numrnn.cellspec import CELLS, CellSpec
from numrnn.engine.panels import Panels
from numrnn.kernels import launch
from numrnn.kernels.own_cell import SIDES, tag_of
from numrnn.kernels.step import STEP
from numrnn.nn.arguments import not_yet
from numrnn.nn.recurrent import Recurrent
from numrnn.reference_cells import STEPS

__all__ = ["OwnCell", "define", "defined", "made", "own_cell"]

_ARGUMENTS = {
    "forward": ("sums", "states", "vectors"),
    "backward": ("d_states", "kept", "before", "after", "vectors"),
    "operand": ("gates", "states", "vectors"),
    "operand_backward": ("d_operand", "kept", "before", "vectors"),
}
_TAKEN = ("ih", "hh", "hr")
_MOST_GATES = 4


_CHECKED = set[str]()
"""Cells whose functions are known to return what they should: kernels take their numbers as they come."""


class OwnCell(Recurrent):
    """A stack of layers of a cell that `define` made; abstract."""

    source: ClassVar[str]
    _own: ClassVar[str]  # its key in the tables of cells
    _spec_given: ClassVar[CellSpec]
    _functions: ClassVar[dict[str, FunctionType]]
    _on_disk: ClassVar[bool]  # whether its functions' source could be read

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
        init: str = "pytorch",
    ) -> None:
        self._build(
            self._own,
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            dtype=dtype,
            seed=seed,
            init=init,
        )

    def _connect(self) -> None:
        made(type(self))
        super()._connect()

    def _panels(self) -> Panels:
        if not _jit.DISABLED and self._own not in _CHECKED:
            # what was compiled in another process was checked there
            if not _jit.is_cached(launch.FORWARD[self._own][0]):
                compile_functions(self._spec_given, made(type(self)).compiled, self.dtype.name)
            _CHECKED.add(self._own)
        return super()._panels()


def define(
    name: str,
    *,
    gates: Sequence[str],
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    states: Sequence[str] = ("h",),
    kept: Sequence[str] = (),
    vectors: Sequence[str] = (),
    candidate: str | None = None,
    operand: Callable[..., Any] | None = None,
    operand_backward: Callable[..., Any] | None = None,
    source: str = "",
) -> type[OwnCell]:
    """Make a class of layers of a cell that is told by what it does to one hidden unit.

    The engine computes, for each gate and hidden unit, the sum of biases, W_ih x_t and W_hh h_{t-1}; `forward` makes
    the new states of the sums, and `backward` the sums' adjoints of the states'. Both are compiled, and called with
    vectors of neighbouring hidden units as if these were numbers: with `+ - * /` and the functions of `numrnn.cells`,
    without branches on values. What they return may also be a number, such as 0.0.

    Parameters
    ----------
    name : str
        Of the class, as in `MGU = define("MGU", ...)`: a pickled layer finds its class by it.
    gates : sequence of str
        Row blocks of `weight_ih` and `weight_hh`, 1 to 4.
    forward : function (sums, states, vectors) -> (states, kept)
        `sums`: one for each gate; of a split candidate two. `states`: before the step. All are tuples, as is what it
        returns: the states after the step, and what `backward` needs.
    backward : function (d_states, kept, before, after, vectors) -> (d_sums, d_before, d_vectors)
        `d_states`: adjoints of the states after the step; `before`, `after`: the states themselves. Returns the
        adjoints of the sums, of the states before the step as far as `forward` reads them itself (the engine adds
        what goes through W_hh), and of the vectors.
    states : ("h",) or ("h", "c")
        `h` comes first and is the output.
    kept : sequence of str
        Names of what `forward` keeps: the keys of `internals.gates`.
    vectors : sequence of str
        Parameters of one number for each hidden unit, as a peephole has: "ci" is `weight_ci_l0`, of shape
        (hidden_size,). Drawn from U(-1/sqrt(H), 1/sqrt(H)).
    candidate : {None, "split", "late"}
        What is special about the last gate. "split": its input side and its recurrent side come as two sums, the last
        ones. "late": its recurrent side is W_hh's product with `operand` instead of h_{t-1}.
    operand : function (gates, states, vectors) -> operand
        Of a late candidate: what W_hh is multiplied with, from the sums of the other gates.
    operand_backward : function (d_operand, kept, before, vectors) -> (d_gates, d_before, d_vectors)
        Adjoints through `operand`, which the engine adds to those of `backward`.
    source : str
        Where the cell is from.

    Returns
    -------
    class
        Its constructor has the arguments of `numrnn.RNN` but for `nonlinearity`; its layers do what layers do, but for
        `to_onnx`, and paths with dropout in `rollout`. `load` and pickles find it where the program has defined it. A
        cell that was defined before, in the same words, is the same class; in others it is another one, and layers of
        the first go on.

    Raises
    ------
    ValueError
        Names that are none, or taken; a function of other arguments.
    TypeError
        Something else than a function. At the first call: a function that does not compile, or that returns something
        else; says which and why.
    NotImplementedError
        More gates than the tile has room for; a late candidate beside a state c.

    Notes
    -----
    Functions are compiled at the first call, and kept on disk with the package's own kernels under a digest of their
    source, of the functions that they call and of the values that they read; where there is no source (in an
    interactive interpreter), in memory alone. Functions that they call by name are compiled with them; attributes of a
    module of your own have to be compiled already, by `numba.njit`.

    `check` compares a cell's `backward` with finite differences.

    Examples
    --------
    A leaky unit, h_t = a h_{t-1} + (1 - a) tanh(s), with a rate a for each hidden unit:

    >>> from numrnn import cells
    >>> def forward(sums, states, vectors):
    ...     a, new = vectors[0], cells.tanh(sums[0])
    ...     return (a * states[0] + (1.0 - a) * new,), (new,)
    >>> def backward(d_states, kept, before, after, vectors):
    ...     (dh,), (new,), (a,) = d_states, kept, vectors
    ...     return (dh * (1.0 - a) * (1.0 - new * new),), (dh * a,), (dh * (before[0] - new),)
    >>> Leaky = cells.define("Leaky", gates=("n",), kept=("n",), vectors=("rate",), forward=forward, backward=backward)
    >>> cells.check(Leaky)
    >>> layer = Leaky(4, 8, bidirectional=True)
    >>> layer.parameters["weight_ih_l0"].shape, layer.parameters["weight_rate_l0_reverse"].shape
    ((8, 4), (8,))
    """
    head = f"define({name!r})"
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(explain("define", f"`name` should be the name of a class, got {kind_of(name)}."))
    spec = CellSpec(
        name,
        _names(head, "gates", gates),
        _states(head, states),
        _names(head, "kept", kept),
        candidate=_candidate(head, candidate),
        vectors=_names(head, "vectors", vectors),
    )
    _check_counts(head, spec)
    if candidate == "late" and "operand" in spec.saved:
        raise ValueError(explain(head, "`kept` may not have the name operand: it is that of the late candidate's."))
    given: dict[str, object] = {"forward": forward, "backward": backward}
    if candidate == "late":
        given |= {"operand": operand, "operand_backward": operand_backward}
    elif operand is not None or operand_backward is not None:
        advice = 'Pass candidate="late", or leave it out.'
        raise ValueError(explain(head, "`operand` is of a late candidate, and there is none.", advice))
    functions = {argument: _function(head, argument, value) for argument, value in given.items()}
    digest = digest_of(functions)
    words = uuid4().hex if digest is None else hashlib.sha256(f"{spec} {source} {digest}".encode()).hexdigest()
    key = f"{name}_{words[:12]}"
    if key not in _MADE:
        title = f"{name} ({source})" if source else name
        members: dict[str, Any] = {
            "__doc__": f"A stack of layers of the cell {title}; made by `numrnn.cells.define`.",
            "__module__": sys._getframe(1).f_globals.get("__name__", "__main__"),
            "__qualname__": name,
            "source": source,
            "_own": key,
            "_spec_given": spec,
            "_functions": functions,
            "_on_disk": digest is not None,
        }
        made(type(name, (OwnCell,), members))
    _MADE[key] = _MADE.pop(key)  # the last one
    return _MADE[key].cell


class Made(NamedTuple):
    """What this process has of a cell."""

    cell: type[OwnCell]
    step: OwnStep
    compiled: dict[str, Any]
    tag: _jit.CellTag


_MADE: dict[str, Made] = {}


def made(cell: type[OwnCell]) -> Made:
    """Enter a cell into the tables, unless it is there: a class may come from another process, too."""
    key = cell._own
    if key in _MADE:
        return _MADE[key]
    spec = cell._spec_given
    saved = (*spec.saved, "operand") if spec.candidate == "late" else spec.saved
    step = OwnStep(spec, {name: plain(function) for name, function in cell._functions.items()})
    compiled = {name: pointwise(function, key) for name, function in cell._functions.items()}
    tag = tag_of(key, spec, compiled)
    if not _jit.DISABLED:
        launch.FORWARD[key], launch.BACKWARD[key] = entries(spec, tag, compiled, on_disk=cell._on_disk)
    STEP[key] = jit_step(tag, on_disk=cell._on_disk)
    STEPS[key] = step.forward, step.backward
    CELLS[key] = CellSpec(key, spec.gates, spec.states, saved, candidate=spec.candidate, vectors=spec.vectors)
    _MADE[key] = Made(cell, step, compiled, tag)
    return _MADE[key]


def defined(name: str) -> type[OwnCell] | None:
    """The class of that name that was defined last."""
    found = [each.cell for each in _MADE.values() if each.cell.__name__ == name]
    return found[-1] if found else None


def own_cell(cell: type[OwnCell]) -> dict[str, Any]:
    """What a file says of a cell, beside its name: whatever its weights depend on."""
    spec = cell._spec_given
    return {"gates": list(spec.gates), "candidate": spec.candidate, "vectors": list(spec.vectors)}


def _names(head: str, argument: str, value: object) -> tuple[str, ...]:
    """Different names that could be those of variables."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(explain(head, f"`{argument}` should be a sequence of names, got {kind_of(value)}."))
    for each in value:
        if not isinstance(each, str) or not each.isidentifier():
            raise ValueError(explain(head, f'`{argument}` should be names such as "f", got {kind_of(each)}.'))
    if len(set(value)) < len(value):
        raise ValueError(explain(head, f"`{argument}` has a name twice: {', '.join(value)}."))
    if argument == "vectors" and set(value) & set(_TAKEN):
        wrong = ", ".join(sorted(set(value) & set(_TAKEN)))
        raise ValueError(explain(head, f"`vectors` may not be named {wrong}: weight_{wrong}_l0 is a weight already."))
    return tuple(value)


def _states(head: str, value: object) -> tuple[str, ...]:
    names = _names(head, "states", value)
    if names not in (("h",), ("h", "c")):
        raise ValueError(explain(head, f'`states` should be ("h",) or ("h", "c"), got {names}.'))
    return names


def _candidate(head: str, value: object) -> str | None:
    if value is not None and value not in ("split", "late"):
        raise ValueError(explain(head, f'`candidate` should be None, "split" or "late", got {kind_of(value)}.'))
    assert value is None or isinstance(value, str)
    return value


def _check_counts(head: str, spec: CellSpec) -> None:
    n = spec.num_gates
    if n == 0:
        raise ValueError(explain(head, "`gates` is empty.", "A cell has one gate at least: what its weights multiply."))
    if spec.candidate is not None and n < 2:
        problem = f"`gates` has {n} name, and candidate={spec.candidate!r} needs another gate beside the last one."
        raise ValueError(explain(head, problem))
    if (n, spec.candidate) not in SIDES:
        most = _MOST_GATES - (spec.candidate == "split")
        reason = f"a tile has {_MOST_GATES} sums for each hidden unit, and a split candidate takes two"
        raise not_yet(head, f"{n} gates", reason, f"Here {most} fit.")
    if spec.candidate == "late" and spec.has_cell_state:
        reason = "the second stage of a step knows h alone"
        raise not_yet(head, 'candidate="late" with a state c', reason)


def _function(head: str, argument: str, value: object) -> FunctionType:
    """A function of as many arguments as it will be given; of a compiled one what it was compiled from."""
    function = getattr(value, "py_func", value)
    expected = _ARGUMENTS[argument]
    if not isinstance(function, FunctionType):
        takes = f"A function of ({', '.join(expected)})."
        raise TypeError(explain(head, f"`{argument}` should be a function, got {kind_of(value)}.", takes))
    try:
        inspect.signature(function).bind(*expected)
    except TypeError as error:
        problem = f"`{argument}` takes {inspect.signature(function)}, and is called with ({', '.join(expected)})."
        raise ValueError(explain(head, problem)) from error
    return function
