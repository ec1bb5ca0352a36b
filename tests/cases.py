"""THE table of cases, and how a case becomes a layer, its arrays, and everything the layer can say about them.

Sizes stand on both sides of the register tile's rows (3, 6), of the vector's lanes (4, 8, 16) and of a panel (64), and
beyond one block of rows (512). Helpers speak time-major arrays, whatever the case's layout, and answers come as one
flat dict: `output h_n [c_n] d_x d_h_0 [d_c_0]`, and `d_<parameter>` in PyTorch's names. Padding is NaN throughout.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt

import numrnn
from numrnn import reference
from numrnn.cellspec import BUILT_IN, CELLS, CellSpec, parameter_shapes

Array = npt.NDArray[Any]
Answers = dict[str, Array]
Sizes = tuple[int, int, int, int, int]

TORCH_CELLS = tuple(cell for cell in BUILT_IN if cell != "gru_reset_before")
COTANGENTS = ("output", "h_n", "c_n")
EDGES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15, 16, 17, 31, 32, 33, 63, 64, 65)


@dataclass(frozen=True, slots=True)
class Case:
    """One call of one layer. `cotangents` are those given to the pullback; a cell without `c_n` ignores that one.

    `lengths` is "full" (none given), "ragged" (1 to T), or "some_empty" (0 to T, one row of each at least).
    """

    cell: str
    N: int
    T: int
    I: int
    H: int
    num_layers: int = 1
    bias: bool = True
    with_state: bool = True
    batch_first: bool = False
    bidirectional: bool = False
    proj_size: int = 0
    lengths: str = "full"
    resets: bool = False
    dtype: str = "float64"
    cotangents: tuple[str, ...] = COTANGENTS

    def __str__(self) -> str:
        words = [self.cell, f"N{self.N}", f"T{self.T}", f"I{self.I}", f"H{self.H}", f"L{self.num_layers}"]
        words += [] if self.bias else ["nobias"]
        words += [] if self.with_state else ["zerostate"]
        words += ["batchfirst"] if self.batch_first else []
        words += ["bidirectional"] if self.bidirectional else []
        words += [f"P{self.proj_size}"] if self.proj_size else []
        words += [self.lengths] if self.lengths != "full" else []
        words += ["resets"] if self.resets else []
        words += [] if self.cotangents == COTANGENTS else ["d_" + "_".join(self.cotangents)]
        return "-".join([*words, self.dtype])

    @property
    def spec(self) -> CellSpec:
        return CELLS[self.cell]

    @property
    def num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        return self.proj_size or self.H

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return parameter_shapes(
            self.spec, self.I, self.H, self.num_layers, self.bias, self.num_directions, self.proj_size
        )

    def rng(self, purpose: str) -> np.random.Generator:
        """The same numbers for the same shapes, whatever the layout, dtype and cotangents."""
        plain = replace(self, batch_first=False, dtype="float64", cotangents=COTANGENTS)
        return np.random.default_rng(zlib.crc32(f"{plain} {purpose}".encode()))


# fmt: off
_ROWS = (
    # N    T   I   H  L  bias  with_state batch_first
    (  1,  1,  1,  1, 1, True,  True,  False),
    (  1,  9,  5,  7, 1, True,  False, False),
    (  2, 11, 16, 16, 1, False, True,  False),
    (  5,  6, 17, 15, 1, True,  True,  True),
    (  6,  7, 15, 17, 2, True,  True,  False),
    (  7,  5, 31, 33, 1, True,  False, True),
    ( 13,  4,  3,  8, 3, False, False, False),
    ( 16,  3, 64, 64, 1, True,  True,  False),
    ( 33,  5,  7, 31, 2, True,  True,  True),
    (  1, 40, 33, 65, 1, True,  True,  False),
    ( 65,  2, 63,  9, 1, False, True,  True),
    (  3, 400, 2,  6, 1, True,  True,  False),
)
_MORE: tuple[tuple[Sizes, dict[str, Any]], ...] = (
    # N  T   I   H  L
    ((5, 6, 17, 15, 1), {"bidirectional": True}),
    ((1, 9,  3, 33, 2), {"bidirectional": True, "batch_first": True}),
    ((9, 7, 16,  8, 2), {"lengths": "ragged"}),
    ((33, 8, 5, 17, 2), {"lengths": "some_empty", "bidirectional": True, "batch_first": True}),
    ((13, 9, 6, 31, 1), {"lengths": "some_empty", "with_state": False, "bias": False}),
    ((7, 9,  4, 16, 2), {"resets": True}),
    ((14, 8, 3,  9, 1), {"resets": True, "lengths": "some_empty", "batch_first": True}),
)
_PROJECTED: tuple[tuple[Sizes, dict[str, Any]], ...] = (
    ((6, 5,  8, 17, 1), {"proj_size": 5}),
    ((65, 3, 7, 65, 2), {"proj_size": 64, "bias": False}),
    ((1, 9, 31, 33, 3), {"proj_size": 1, "bidirectional": True, "with_state": False}),
    ((15, 7, 5, 33, 2), {"proj_size": 16, "bidirectional": True, "lengths": "some_empty", "batch_first": True}),
    ((4, 8,  9, 16, 2), {"proj_size": 9, "lengths": "ragged", "resets": True}),
)
# fmt: on

CASES: tuple[Case, ...] = (
    *(Case(cell, *row) for row in _ROWS for cell in BUILT_IN),
    *(Case(cell, *sizes, **options) for sizes, options in _MORE for cell in BUILT_IN),
    *(Case("lstm", *sizes, **options) for sizes, options in _PROJECTED),
)
TORCH_CASES: tuple[Case, ...] = tuple(  # what PyTorch has too: no resets, no rows without a step
    case for case in CASES if case.cell in TORCH_CELLS and not case.resets and case.lengths != "some_empty"
)
EMPTY_CASES: tuple[Case, ...] = tuple(
    Case(cell, N, T, 5, 7, num_layers=2, **options)
    for cell in BUILT_IN
    for N, T, options in (
        (4, 0, {}),
        (4, 0, {"batch_first": True, "bidirectional": True}),
        (0, 3, {"lengths": "ragged"}),
        (0, 0, {}),
    )
)


def random_cases(seed: int, n: int, cells: Iterable[str] = BUILT_IN, **fixed: Any) -> list[Case]:
    """`n` cases around the edges, cells in turn, with any subset of cotangents; `fixed` overrides fields."""
    rng = np.random.default_rng(seed)

    def one(cell: str) -> Case:
        size = rng.choice(EDGES, size=3).tolist()
        bias, with_state, batch_first, *given = (rng.random(6) < 0.6).tolist()
        bidirectional, ragged, projected = (rng.random(3) < 0.4).tolist()
        projected &= cell == "lstm" and size[2] > 1
        return Case(
            cell,
            N=size[0],
            T=int(rng.integers(1, 10)),
            I=size[1],
            H=size[2],
            num_layers=int(rng.integers(1, 4)),
            bias=bias,
            with_state=with_state,
            batch_first=batch_first,
            bidirectional=bidirectional,
            proj_size=int(rng.integers(1, size[2])) if projected else 0,
            lengths="ragged" if ragged else "full",
            cotangents=tuple(name for name, chosen in zip(COTANGENTS, given, strict=True) if chosen),
        )

    in_turn = cycle(cells)
    return [replace(one(next(in_turn)), **fixed) for _ in range(n)]


def in_both_dtypes(cases: Iterable[Case]) -> list[Case]:
    """Each case in float64 and in float32."""
    return [replace(case, dtype=dtype) for case in cases for dtype in ("float64", "float32")]


@dataclass(frozen=True, slots=True)
class Problem:
    """The arrays of one call and of its pullback, time-major; None where not given."""

    x: Array
    h_0: Array | None
    c_0: Array | None
    d_output: Array | None
    d_h_n: Array | None
    d_c_n: Array | None
    lengths: Array | None = None
    resets: Array | None = None

    @property
    def state(self) -> Any:
        """As a layer wants it."""
        return self.h_0 if self.c_0 is None else (self.h_0, self.c_0)

    @property
    def cotangents(self) -> dict[str, Array | None]:
        """As a pullback wants them, time-major; without `d_c_n` if that is None."""
        given = {"d_output": self.d_output, "d_h_n": self.d_h_n, "d_c_n": self.d_c_n}
        return given if self.d_c_n is not None else {name: given[name] for name in ("d_output", "d_h_n")}

    def options(self, layer: Any) -> dict[str, Array]:
        """`lengths` and `reset`, where given, as the layer's calls want them."""
        given = {"lengths": self.lengths, "reset": in_layout(layer, self.resets)}
        return {name: value for name, value in given.items() if value is not None}

    def rows(self, index: Any) -> "Problem":
        """The same call for some rows of the batch; an index or a slice."""
        arrays = ("x", "h_0", "c_0", "d_output", "d_h_n", "d_c_n", "resets")
        taken = self._each(lambda array: np.ascontiguousarray(array[:, index]), *arrays)
        return taken._each(lambda lengths: lengths[index], "lengths")

    def steps(self, index: slice) -> "Problem":
        """The same call for some steps, with the same states and the same cotangents of the last ones."""
        first, stop, _ = index.indices(len(self.x))
        taken = self._each(lambda array: np.ascontiguousarray(array[index]), "x", "d_output", "resets")
        return taken._each(lambda lengths: np.clip(lengths - first, 0, stop - first), "lengths")

    def padded_with(self, value: float) -> "Problem":
        """The same call with another number in the padding of x and d_output."""
        if self.lengths is None:
            return self
        padding = np.arange(len(self.x))[:, None, None] >= self.lengths[:, None]
        return self._each(lambda array: np.where(padding, np.asarray(value, array.dtype), array), "x", "d_output")

    def _each(self, change: Callable[[Array], Array], *names: str) -> "Problem":
        given: dict[str, Any] = {name: getattr(self, name) for name in names}
        return replace(self, **{name: change(array) for name, array in given.items() if array is not None})


def make_parameters(case: Case) -> dict[str, Array]:
    """Normal weights that leave the states at order one, and biases of the same size."""
    rng = case.rng("parameters")
    return {
        name: (0.8 * rng.standard_normal(shape) / np.sqrt(shape[-1] if len(shape) == 2 else 4)).astype(case.dtype)
        for name, shape in case.parameter_shapes.items()
    }


def make_lengths(case: Case) -> Array | None:
    """As the case says; at least one row has all T steps."""
    if case.lengths == "full":
        return None
    rng = case.rng("lengths")
    lengths = rng.integers(1, case.T + 1, case.N)
    if case.N:
        longest, empty = rng.permutation(case.N)[[0, -1]]
        lengths[empty] = 0 if case.lengths == "some_empty" else lengths[empty]
        lengths[longest] = case.T
    return lengths


def make_problem(case: Case) -> Problem:
    """Standard normal arrays for everything that the case gives, NaN in the padding."""
    rng = case.rng("arrays")

    def draw(shape: tuple[int, ...], given: bool) -> Array | None:
        array = rng.standard_normal(shape).astype(case.dtype)
        return array if given else None

    has_c, tracks = case.spec.has_cell_state, case.num_layers * case.num_directions
    hidden, cells = (tracks, case.N, case.output_size), (tracks, case.N, case.H)
    x = draw((case.T, case.N, case.I), True)
    assert x is not None
    problem = Problem(
        x=x,
        h_0=draw(hidden, case.with_state),
        c_0=draw(cells, case.with_state and has_c),
        d_output=draw((case.T, case.N, case.num_directions * case.output_size), "output" in case.cotangents),
        d_h_n=draw(hidden, "h_n" in case.cotangents),
        d_c_n=draw(cells, "c_n" in case.cotangents and has_c),
        lengths=make_lengths(case),
        resets=case.rng("resets").random((case.T, case.N)) < 0.3 if case.resets else None,
    )
    return problem.padded_with(np.nan)


def construct(module: Any, case: Case, **options: Any) -> Any:
    """The case's layer from `numrnn` or `torch.nn`, which name their classes and arguments alike."""
    name, _, kind = case.cell.partition("_")
    options |= {"nonlinearity": kind} if name == "rnn" else {}
    options |= {"reset_after": False} if kind == "reset_before" else {}
    options |= {"proj_size": case.proj_size} if case.proj_size else {}
    options |= {"bidirectional": case.bidirectional, "bias": case.bias}
    return getattr(module, name.upper())(case.I, case.H, case.num_layers, **options)


def make_layer(case: Case) -> Any:
    """The public layer of a case, with the case's parameters."""
    layer = construct(numrnn, case, batch_first=case.batch_first, dtype=case.dtype)
    layer.set_parameters(make_parameters(case))
    return layer


def in_layout(layer: Any, array: Array | None) -> Array | None:
    """Time-major to the layer's own layout, or back: contiguous in either."""
    return np.ascontiguousarray(array.swapaxes(0, 1)) if array is not None and layer.batch_first else array


def result_answers(layer: Any, result: Any) -> Answers:
    """`output`, `h_n` and, where there is one, `c_n` of a result."""
    output = in_layout(layer, result.output)
    assert output is not None
    return {"output": output, "h_n": result.h_n} | ({"c_n": result.c_n} if hasattr(result, "c_n") else {})


def gradient_answers(layer: Any, gradients: Any) -> Answers:
    """`d_x`, `d_h_0`, `d_c_0` where there is one, and the gradient of every parameter."""
    states = {"d_h_0": gradients.h_0, "d_c_0": gradients.c_0}
    d_x = {"d_x": in_layout(layer, gradients.x)}
    named = {f"d_{name}": value for name, value in gradients.parameters.items()}
    return {name: value for name, value in (d_x | states | named).items() if value is not None}


def pull(layer: Any, pullback: Callable[..., Any], problem: Problem, **options: Any) -> Answers:
    """The gradients of a problem's cotangents through a pullback of the layer."""
    cotangents = problem.cotangents | {"d_output": in_layout(layer, problem.d_output)}
    return gradient_answers(layer, pullback(**cotangents, **options))


def call(method: Callable[..., Any], problem: Problem, **options: Any) -> Any:
    """`layer.vjp`, `layer.last` or `layer.__call__` with all that the problem gives."""
    layer = getattr(method, "__self__")  # noqa: B009
    return method(in_layout(layer, problem.x), problem.state, **problem.options(layer), **options)


def layer_answers(layer: Any, problem: Problem, **options: Any) -> Answers:
    """All that `layer.vjp` and its pullback say; `options` go to `vjp`."""
    result, pullback = call(layer.vjp, problem, **options)
    return result_answers(layer, result) | pull(layer, pullback, problem)


def reference_trace(case: Case, problem: Problem, parameters: Mapping[str, Array]) -> reference.Trace:
    """The forward pass of `numrnn.reference`."""
    return reference.forward(
        case.spec,
        parameters,
        problem.x,
        problem.h_0,
        problem.c_0,
        num_layers=case.num_layers,
        num_directions=case.num_directions,
        lengths=problem.lengths,
        resets=problem.resets,
    )


def reference_answers(case: Case, problem: Problem, parameters: Mapping[str, Array]) -> Answers:
    """The same from `numrnn.reference`, in float64."""
    trace = reference_trace(case, problem, parameters)
    d_x, d_h_0, d_c_0, d_parameters = reference.backward(trace, problem.d_output, problem.d_h_n, problem.d_c_n)
    answers = {"output": trace.output, "h_n": trace.h_n, "c_n": trace.c_n, "d_x": d_x, "d_h_0": d_h_0, "d_c_0": d_c_0}
    answers |= {f"d_{name}": value for name, value in d_parameters.items()}
    return {name: value for name, value in answers.items() if value is not None}


def torch_answers(case: Case, problem: Problem, parameters: Mapping[str, Array], *, unbatched: bool = False) -> Answers:
    """The same from PyTorch, in the case's dtype; ragged input goes in packed. Unused gradients are zero.

    With `unbatched` the one row goes in without its axis, and the answers have none.
    """
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    module = construct(torch.nn, case, dtype=getattr(torch, case.dtype))
    module.load_state_dict({name: torch.tensor(value) for name, value in parameters.items()})
    problem = problem.padded_with(0.0)
    tracks = case.num_layers * case.num_directions
    zeros = [np.zeros((tracks, case.N, size), case.dtype) for size in (case.output_size, case.H)]
    if unbatched:
        arrays = ("x", "h_0", "c_0", "d_output", "d_h_n", "d_c_n")
        problem = problem._each(lambda array: array[:, 0], *arrays)
        zeros = [zero[:, 0] for zero in zeros]
    initial = (problem.h_0, problem.c_0)[: len(case.spec.states)]
    x = torch.tensor(problem.x, requires_grad=True)
    given = x if problem.lengths is None else pack_padded_sequence(x, problem.lengths, enforce_sorted=False)
    state = [
        torch.tensor(zero if start is None else start, requires_grad=True)
        for start, zero in zip(initial, zeros, strict=False)
    ]
    output, last = module(given, tuple(state) if case.spec.has_cell_state else state[0])
    if problem.lengths is not None:
        output, _ = pad_packed_sequence(output, total_length=case.T)
    results = [output, *(last if case.spec.has_cell_state else (last,))]
    cotangents = (problem.d_output, problem.d_h_n, problem.d_c_n)
    pairs = [(r, torch.tensor(d)) for r, d in zip(results, cotangents, strict=False) if d is not None]
    leaves = {"d_x": x} | dict(zip(("d_h_0", "d_c_0"), state, strict=False))
    leaves |= {f"d_{name}": value for name, value in module.named_parameters()}
    torch.autograd.backward([(r * d).sum() for r, d in pairs] or [0 * output.sum()])
    answers = dict(zip(COTANGENTS, results, strict=False)) | {
        name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in leaves.items()
    }
    return {name: value.detach().numpy() for name, value in answers.items()}


def numerical_gradients(
    results: Callable[[Problem, dict[str, Array]], Answers], problem: Problem, parameters: dict[str, Array]
) -> Answers:
    """Central differences of sum(cotangent * result) by every entry of what was given, in float64."""

    d_output = problem.padded_with(0.0).d_output

    def loss() -> float:
        answers = results(problem, parameters)
        cotangents = zip(COTANGENTS, (d_output, problem.d_h_n, problem.d_c_n), strict=True)
        return sum(float((answers[name] * d).sum()) for name, d in cotangents if d is not None)

    def differences(array: Array, step: float = 1e-5) -> Array:
        slopes = np.empty_like(array)
        for index in np.ndindex(array.shape):
            middle = array[index]
            array[index] = middle + step
            above = loss()
            array[index] = middle - step
            slopes[index] = (above - loss()) / (2 * step)
            array[index] = middle
        return slopes

    leaves = {"x": problem.x, "h_0": problem.h_0, "c_0": problem.c_0} | parameters
    return {f"d_{name}": differences(leaf) for name, leaf in leaves.items() if leaf is not None}


def near_kink(case: Case, problem: Problem, parameters: Mapping[str, Array]) -> bool:
    """Whether rounding to float32 could flip a rectifier, and with it a gradient: nothing to compare then."""
    if case.cell != "rnn_relu":
        return False
    for layer in reference_trace(case, problem, parameters).layers:
        w_ih, w_hh = (parameters[f"weight_{side}_{layer.suffix}"] for side in ("ih", "hh"))
        b_ih, b_hh = (parameters.get(f"bias_{side}_{layer.suffix}", 0.0) for side in ("ih", "hh"))
        for t, before, _ in layer.steps:
            (h_prev,) = layer.previous(t, before)
            pre_activations = np.abs(layer.x[t, layer.valid[t]] @ w_ih.T + b_ih + h_prev @ w_hh.T + b_hh)
            if pre_activations.min(initial=1.0) < 1e-6 * pre_activations.max(initial=0.0):
                return True
    return False


def scaled_error(actual: Array, desired: Array) -> float:
    """Largest absolute difference, in units of the largest desired value."""
    if desired.size == 0:
        return 0.0
    scale = float(np.abs(desired).max())
    return float(np.abs(actual - desired).max()) / (scale or 1.0)


def assert_close(actual: Answers, desired: Answers, tolerance: float) -> None:
    """Every answer is there, has its shape, and is within `tolerance` of its scale."""
    assert list(actual) == list(desired)
    for name in desired:
        assert actual[name].shape == desired[name].shape, name
    errors = {name: scaled_error(actual[name], desired[name]) for name in desired}
    wrong = {name: error for name, error in errors.items() if not error <= tolerance}
    assert not wrong, f"beyond {tolerance} of scale: {wrong}"


def assert_same_bits(actual: Answers, desired: Answers) -> None:
    """Every answer is there and equal to the last bit (NaN equals NaN)."""
    assert list(actual) == list(desired)
    for name in desired:
        np.testing.assert_array_equal(actual[name], desired[name], err_msg=name, strict=True)


def parameter_free(answers: Answers) -> Answers:
    """Without the gradients of parameters: what belongs to a row alone."""
    return {name: value for name, value in answers.items() if not name.startswith(("d_weight", "d_bias"))}
