"""Defining a cell: what is refused and how it reads, what makes two cells one, and what the disk cache sees."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from documents import ROOT
from literature import own_cells

import numrnn
from numrnn import _jit, cells
from numrnn.cells.definition import made
from numrnn.cells.source import compilable, digest_of, plain
from numrnn.kernels import launch, own_cell
from numrnn.kernels.simd import LANES_NUMPY
from numrnn.kernels.tile import ROW_FIELDS, ROW_H, ROW_X, ROWS, SIDES, VECTORS, product


def forward(sums: Any, states: Any, vectors: Any) -> Any:
    return (cells.tanh(sums[0]),), ()


def backward(d_states: Any, kept: Any, before: Any, after: Any, vectors: Any) -> Any:
    return (d_states[0] * (1.0 - after[0] * after[0]),), (0.0,), ()


def greedy(sums: Any, states: Any, vectors: Any) -> Any:
    return (sums[0],), (sums[0], sums[0])


def define(name: str = "Plain", **changes: Any) -> Any:
    """A cell of one gate, with changes."""
    return cells.define(name, **({"gates": ("n",), "forward": forward, "backward": backward} | changes))


class TestRefusals:
    @pytest.mark.parametrize("name", ["two words", "class", "", 3, None])
    def test_a_name_that_no_class_can_have(self, name: Any) -> None:
        with pytest.raises(ValueError, match="define: `name` should be the name of a class"):
            define(name)

    @pytest.mark.parametrize(
        ("changes", "error", "text"),
        [
            ({"gates": "n"}, TypeError, "`gates` should be a sequence of names, got str 'n'"),
            ({"gates": ("n", "n")}, ValueError, "`gates` has a name twice: n, n"),
            ({"gates": ("n", 2)}, ValueError, '`gates` should be names such as "f", got int 2'),
            ({"gates": ()}, ValueError, "`gates` is empty.*\n.*one gate at least"),
            ({"gates": tuple("abcde")}, NotImplementedError, "`5 gates` is not implemented.*\n.*Here 4 fit"),
            (
                {"gates": tuple("abcd"), "candidate": "split"},
                NotImplementedError,
                "`4 gates` is not implemented.*a split candidate takes two.\n  Here 3 fit",
            ),
            ({"candidate": "split"}, ValueError, "needs another gate beside the last one"),
            (
                {"gates": ("f", "n"), "kept": ("operand",), "candidate": "late"},
                ValueError,
                "`kept` may not have the name operand",
            ),
            ({"candidate": "both"}, ValueError, '`candidate` should be None, "split" or "late", got str \'both\''),
            ({"states": ("c", "h")}, ValueError, r'`states` should be \("h",\) or \("h", "c"\)'),
            ({"kept": ("a b",)}, ValueError, "`kept` should be names such as"),
            ({"vectors": ("hh",)}, ValueError, "`vectors` may not be named hh: weight_hh_l0 is a weight already"),
            ({"forward": 3}, TypeError, r"`forward` should be a function, got int 3.\n.*\(sums, states, vectors\)"),
            (
                {"backward": forward},
                ValueError,
                r"`backward` takes .* and is called with \(d_states, kept, before, after, vectors\)",
            ),
            ({"operand": forward}, ValueError, "`operand` is of a late candidate, and there is none"),
            (
                {"gates": ("f", "n"), "candidate": "late"},
                TypeError,
                r"`operand` should be a function, got NoneType None.\n.*\(gates, states, vectors\)",
            ),
            (
                {"gates": ("f", "n"), "candidate": "late", "states": ("h", "c")},
                NotImplementedError,
                'candidate="late" with a state c` is not implemented',
            ),
        ],
    )
    def test_what_no_cell_can_be(self, changes: dict[str, Any], error: type[Exception], text: str) -> None:
        with pytest.raises(error, match=text) as caught:
            define(**changes)
        assert str(caught.value).startswith("define('Plain'): ")

    def test_the_constructor_has_no_other_arguments(self) -> None:
        with pytest.raises(ValueError, match="Plain: `proj_size` is for LSTM alone"):
            define()(3, 4, proj_size=2)
        with pytest.raises(ValueError, match="Plain: `hidden_size` should be an int of 1 or more, got 0"):
            define()(3, 0)

    def test_check_takes_what_define_made(self) -> None:
        for other in (numrnn.GRU, define()(3, 4), None):
            with pytest.raises(TypeError, match="check: `cell` should be a class that `define` made"):
                cells.check(other)


def branching(sums: Any, states: Any, vectors: Any) -> Any:
    if sums[0] > 0.0:
        return (sums[0],), ()
    return (0.0 * sums[0],), ()


def unknown(sums: Any, states: Any, vectors: Any) -> Any:
    return (np.sinh(sums[0]),), ()


def bare(sums: Any, states: Any, vectors: Any) -> Any:
    return cells.tanh(sums[0])


def short(d_states: Any, kept: Any, before: Any, after: Any, vectors: Any) -> Any:
    return (d_states[0],), (), ()


class TestFirstCall:
    """What only the compiler sees is said by the first call, or by `check`, with the function's name."""

    @pytest.mark.parametrize(
        ("function", "text"),
        [
            (branching, r"`forward` does not compile for vectors of float64.\n(?s:.*)gt"),
            (unknown, r"`forward` does not compile for vectors of float64.\n(?s:.*)sinh"),
            (bare, r"`forward` returns a vector, expected a tuple of the tuples states of 1, kept of 0"),
        ],
    )
    def test_a_forward_that_does_not_compile(self, function: Callable[..., Any], text: str) -> None:
        with pytest.raises(TypeError, match=text) as caught:
            cells.check(define("Wrong", forward=function))
        assert str(caught.value).startswith("Wrong: ")

    def test_a_layer_says_the_same(self) -> None:
        with pytest.raises(TypeError, match=r"Wrong: `forward` does not compile for vectors of float64.\n(?s:.*)gt"):
            define("Wrong", forward=branching)(3, 4, dtype="float64")(np.zeros((2, 1, 3)))

    @pytest.mark.parametrize("use", [lambda layer: layer(np.zeros((2, 1, 3))), lambda layer: layer.jit()])
    def test_a_layer_does_not_run_a_forward_that_keeps_too_much(self, use: Any) -> None:
        with pytest.raises(
            TypeError, match=r"`forward` returns .*, expected a tuple of the tuples states of 1, kept of 0"
        ):
            use(define("Greedy", forward=greedy)(3, 4))

    def test_a_layer_does_not_run_a_backward_that_returns_too_little(self) -> None:
        with pytest.raises(TypeError, match="`backward` returns"):
            define("Wrong", backward=short)(3, 4).vjp(np.zeros((2, 1, 3)))

    def test_a_backward_that_returns_too_little(self) -> None:
        wrong = define("Wrong", backward=short)
        text = r"`backward` returns .*, expected a tuple of the tuples d_sums of 1, d_before of 1, d_vectors of 0.\n"
        with pytest.raises(TypeError, match=text + "  Not as expected: d_before"):
            cells.check(wrong)


class TestCheck:
    """A wrong adjoint is named."""

    @pytest.mark.parametrize("position", range(4))
    def test_of_a_sum(self, position: int) -> None:
        def wrong(d_states: Any, kept: Any, before: Any, after: Any, vectors: Any) -> Any:
            d_sums, d_before, d_vectors = own_cells.peephole_backward(d_states, kept, before, after, vectors)
            d_sums = tuple(2 * d if k == position else d for k, d in enumerate(d_sums))
            return d_sums, d_before, d_vectors

        assert wrong_lines(lambda: plain_check(own_cells.PeepholeLSTM, backward=wrong)) == [
            f"the sum of {'ifgo'[position]}"
        ]

    def test_of_states_and_vectors(self) -> None:
        def wrong(d_states: Any, kept: Any, before: Any, after: Any, vectors: Any) -> Any:
            d_sums, (_, d_c), (d_ci, _, d_co) = own_cells.peephole_backward(d_states, kept, before, after, vectors)
            return d_sums, (d_c, d_c), (d_ci, 0.0, d_co + 1e-3)

        named = wrong_lines(lambda: plain_check(own_cells.PeepholeLSTM, backward=wrong))
        assert named == ["h before the step", "the vector cf", "the vector co"]

    def test_of_a_late_candidate_s_operand(self) -> None:
        def wrong(d_operand: Any, kept: Any, before: Any, vectors: Any) -> Any:
            d_gates, _, _ = own_cells.mgu_operand_backward(d_operand, kept, before, vectors)
            return d_gates, (d_operand,), ()

        assert wrong_lines(lambda: plain_check(own_cells.MGU, operand_backward=wrong)) == ["h before the step"]

    def test_nan_is_wrong(self) -> None:
        def wrong(d_states: Any, kept: Any, before: Any, after: Any, vectors: Any) -> Any:
            return (d_states[0] * np.nan, 0.0), (0.0,), ()

        assert "the sum of f" in wrong_lines(lambda: plain_check(own_cells.MGU, backward=wrong))

    def test_the_literature_s_cells_pass(self) -> None:
        cells.check(own_cells.MGU)
        cells.check(own_cells.PeepholeLSTM)


def plain_check(cell: Any, **functions: Any) -> None:
    """What `check` does before anything is compiled, with other functions."""
    from dataclasses import replace

    from numrnn.cells import checking

    step = made(cell).step
    step = replace(step, functions=dict(step.functions) | functions)
    wrong = checking._wrong_adjoints(step, np.random.default_rng(0))
    if wrong:
        raise ValueError("\n".join(wrong))


def wrong_lines(call: Callable[[], None]) -> list[str]:
    """What the adjoints are of that an error names."""
    with pytest.raises(ValueError, match="The adjoint of") as caught:
        call()
    lines = str(caught.value).splitlines()
    assert all("a finite difference of `forward` gives" in line for line in lines)
    return [line.removeprefix("The adjoint of ").partition(" is ")[0] for line in lines]


FACTOR = 2.0


def scaled(sums: Any, states: Any, vectors: Any) -> Any:
    return (FACTOR * helper(sums[0]),), ()


def of_a_module(x: Any) -> Any:
    return x * outer.inner.alpha  # type: ignore[name-defined]  # noqa: F821


def helper(x: Any) -> Any:
    return cells.tanh(x)


class TestIdentity:
    def test_the_same_words_are_the_same_class(self) -> None:
        assert define() is define()
        assert define() is not define("Other")
        assert define() is not define(forward=scaled)
        assert define() is not define(source="a paper")
        assert define().__module__ == __name__

    def test_layers_of_an_older_definition_go_on(self) -> None:
        layer = define()(3, 4)
        define(forward=scaled)
        assert layer._spec.name == define()._own

    def test_helpers_and_values_are_part_of_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first = digest_of({"forward": scaled})
        assert first == digest_of({"forward": scaled}) is not None
        monkeypatch.setitem(globals(), "FACTOR", 3.0)
        second = digest_of({"forward": scaled})
        monkeypatch.setitem(globals(), "FACTOR", np.float64(3.0))
        third = digest_of({"forward": scaled})
        monkeypatch.setitem(globals(), "FACTOR", np.float64(2.5))
        fourth = digest_of({"forward": scaled})
        monkeypatch.setitem(globals(), "helper", lambda x: x)
        assert len({first, second, third, fourth, digest_of({"forward": scaled})}) == 5

    def test_lambdas_in_one_line_are_told_apart(self) -> None:
        plus, minus = lambda x: x + 1.0, lambda x: x - 1.0
        assert digest_of({"forward": plus}) != digest_of({"forward": minus})
        twice, thrice = lambda x: x * 2.0, lambda x: x * 3.0
        assert digest_of({"forward": twice}) != digest_of({"forward": thrice})
        one, other = lambda x: cells.tanh(x) + 1.0, lambda x: cells.sigmoid(x) + 1.0
        assert digest_of({"forward": one}) != digest_of({"forward": other})

    def test_values_in_modules_of_modules_are_part_of_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        outer, inner = ModuleType("outer"), ModuleType("outer.inner")
        outer.inner = inner  # type: ignore[attr-defined]
        monkeypatch.setitem(globals(), "outer", outer)
        found = set()
        for inner.alpha in (2.0, 3.0):  # type: ignore[attr-defined]
            found.add(digest_of({"forward": of_a_module}))
        assert len(found) == 2

    def test_members_of_an_enum_are_part_of_it(self) -> None:
        def with_factor(factor: float) -> Any:
            kind = Enum("kind", {"FACTOR": factor})
            return lambda x: x * kind.FACTOR.value

        assert digest_of({"forward": with_factor(2.0)}) == digest_of({"forward": with_factor(2.0)}) is not None
        assert digest_of({"forward": with_factor(2.0)}) != digest_of({"forward": with_factor(3.0)})

    def test_a_class_of_the_users_has_no_digest(self) -> None:
        made = type("made", (), {"factor": 2.0})
        assert digest_of({"forward": lambda x: x * made.factor}) is None
        assert digest_of({"forward": lambda x: x * float(2)}) is not None

    def test_what_it_does_not_read_is_not_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        large = np.zeros(10)
        monkeypatch.setitem(globals(), "large", large)
        count = sys.getrefcount(large)
        twins = plain(scaled), compilable(scaled, lambda function: function)
        assert sys.getrefcount(large) == count
        assert all(twin.__globals__["FACTOR"] == FACTOR for twin in twins)

    def test_functions_that_it_calls_are_compiled_with_it(self) -> None:
        """Plain ones, closures, and compiled ones, which Python runs for the reference."""
        numba = pytest.importorskip("numba")
        factor = 0.5

        def inner(x: Any) -> Any:
            return factor * helper(x)

        @numba.njit
        def slope(h: Any) -> Any:
            return factor - h * h / factor

        def forward(sums: Any, states: Any, vectors: Any) -> Any:
            return (inner(sums[0]),), ()

        def backward(d_states: Any, kept: Any, before: Any, after: Any, vectors: Any) -> Any:
            return (d_states[0] * slope(after[0]),), (0.0,), ()

        cells.check(define("Half", forward=forward, backward=backward))

    def test_without_source_there_is_no_digest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: dict[str, Any] = {}
        exec("def forward(sums, states, vectors): return (sums[0],), ()", made)
        assert digest_of({"forward": made["forward"]}) is None
        assert define(forward=made["forward"]) is not define(forward=made["forward"])
        monkeypatch.setitem(globals(), "helper", object())
        assert digest_of({"forward": scaled}) is None


PROGRAM = """
import json, sys
sys.path.insert(0, {folder!r})
import numpy as np
import own_cells
from numrnn import _jit
from numrnn.kernels import launch
kernel = launch.FORWARD[own_cells.MGU._own][0]
known = _jit.is_cached(kernel)
if known:
    own_cells.MGU(3, 5, seed=0)(np.ones((2, 1, 3)), n_threads=1)
print(json.dumps([known, sum(kernel.stats.cache_hits.values())]))
"""


@pytest.mark.skipif(_jit.cache_folder() is None, reason="there is no disk cache")
def test_another_process_compiles_nothing_and_other_source_is_another_kernel(tmp_path: Path) -> None:
    own_cells.MGU(3, 5, seed=0)(np.ones((2, 1, 3)), n_threads=1)
    source = (ROOT / "examples" / "own_cells.py").read_text(encoding="utf-8")
    changed = source.replace("return sigmoid(gates[0]) * states[0]", "return 1.0 * sigmoid(gates[0]) * states[0]")
    assert changed != source
    found = []
    for text in (source, "# moved by a line\n" + source, changed):
        (tmp_path / "own_cells.py").write_text(text, encoding="utf-8")
        code = PROGRAM.format(folder=str(tmp_path))
        words = [sys.executable, "-B", "-c", code]
        ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        assert ended.returncode == 0, ended.stderr
        found.append(json.loads(ended.stdout))
    assert found == [[True, 1], [True, 1], [False, 0]]


CELL = _jit.CellTag("a cell's product")


def one_tile(pre: Any, start: Any, table: Any, x: Any, h: Any, panel: Any) -> None:
    """A template of `_jit.entry_of_cell`: all rows of a tile, x of 5 numbers and h of 7."""
    product(CELL, ROWS, pre, 0, start.size, start, 0, 0, table, 0, x, ROW_X, 0, 5, h, ROW_H, 0, 7, panel, 0)


@pytest.mark.parametrize(("gates", "candidate"), own_cell.SIDES)
def test_a_product_brings_each_side_to_its_sums(gates: int, candidate: str | None, rng: np.random.Generator) -> None:
    """Gates and an input side first, the recurrent side of a split candidate last, `blocks` vectors of units each."""
    size = LANES_NUMPY[np.dtype("f8")]
    blocks = VECTORS // (gates + (candidate == "split"))
    x_vectors = list(range(gates * blocks))
    h_vectors = x_vectors[: -blocks if candidate else None]
    h_vectors += list(range(gates * blocks, (gates + 1) * blocks)) if candidate == "split" else []
    x, h = rng.standard_normal((ROWS, 5)), rng.standard_normal((ROWS, 7))
    start = rng.standard_normal(VECTORS * size)
    w_x, w_h = rng.standard_normal((5, len(x_vectors), size)), rng.standard_normal((7, len(h_vectors), size))
    table = np.zeros((ROWS, ROW_FIELDS), np.int64)
    table[:, ROW_X], table[:, ROW_H] = np.arange(ROWS) * 5, np.arange(ROWS) * 7
    panel, found = np.concatenate([w_x.ravel(), w_h.ravel()]), np.empty((ROWS, VECTORS * size))
    sides = own_cell.SIDES[gates, candidate]
    assert SIDES[sides] == (tuple(x_vectors), tuple(h_vectors))
    kernel = _jit.entry_of_cell(one_tile, _jit.CellTag(f"sides {sides}", sides=sides), parallel=False, on_disk=False)
    kernel(found.ravel(), start, table.ravel(), x.ravel(), h.ravel(), panel)
    expected = np.tile(start.reshape(1, VECTORS, size), (ROWS, 1, 1))
    expected[:, x_vectors] += np.einsum("rk,kvl->rvl", x, w_x)
    expected[:, h_vectors] += np.einsum("rk,kvl->rvl", h, w_h)
    np.testing.assert_allclose(found, expected.reshape(ROWS, -1), rtol=1e-12, atol=1e-12)


def test_names_of_entry_kernels_hold_the_digest() -> None:
    for kernel in (*launch.FORWARD[own_cells.MGU._own], *launch.BACKWARD[own_cells.MGU._own]):
        assert kernel.py_func.__qualname__.startswith(own_cells.MGU._own)
