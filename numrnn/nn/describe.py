"""The shapes of a call, explained: named axes, what equals what, and the memory needed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol, TypeAlias

from numrnn._errors import explain
from numrnn.engine.memory import readable
from numrnn.engine.plan import Plan, plan_shape
from numrnn.engine.signature import HasSignature
from numrnn.nn.arguments import count

__all__ = ["describe"]

_Rows: TypeAlias = list[tuple[str, str, str]]
"""Name, shape or value, meaning."""


class _Described(HasSignature, Protocol):
    @property
    def num_parameters(self) -> int: ...


def describe(layer: _Described, shape: object) -> str:
    """Return the text of `layer.describe(shape)`."""
    signature = layer.signature
    if isinstance(shape, str) or not isinstance(shape, Iterable) or hasattr(shape, "dtype"):
        got = type(shape).__name__
        raise TypeError(
            explain(signature.head, f"`describe` takes a shape, got {got}.", "Pass x.shape, or a tuple of ints.")
        )
    sizes = tuple(count(signature.head, f"shape[{axis}]", size, least=0) for axis, size in enumerate(shape))
    plan = plan_shape(signature, sizes, 1)
    batched = len(sizes) == 3
    read = f"{signature.axes} because batch_first={plan.batch_first}" if batched else "one sequence (time, features)"
    lines = [repr(layer), f"  x.shape = {sizes} is read as {read}."]
    for title, rows in (
        ("axes", _axes(plan)),
        ("given", _given(plan)),
        ("returned", _returned(plan)),
        ("identities", _identities(plan, batched)),
        ("gradients, of vjp's pullback", _gradients(plan)),
        ("memory", _memory(plan, layer.num_parameters)),
    ):
        rows = rows if batched else [_without_batch(row) for row in rows if row[0] != "N"]
        names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
        lines += ["", f"  {title}", *(f"    {a:<{names}}  {b:<{values}}  {c}".rstrip() for a, b, c in rows)]
    return "\n".join(lines)


def _sizes(plan: Plan) -> dict[str, int]:
    """The size of every axis that a shape of this call has; `Ho` is written P or H."""
    sizes = {
        "T": plan.seq_len,
        "N": plan.batch_size,
        "I": plan.input_size,
        "H": plan.hidden_size,
        "P": plan.output_size,
        "L": plan.num_layers,
        "D": plan.num_directions,
    }
    return {letter: size for letter, size in sizes.items() if letter != "P" or plan.output_size != plan.hidden_size}


def _shape(plan: Plan, *axes: str) -> str:
    """Write a shape with the letter and the size of each axis."""
    sizes = _sizes(plan)
    if plan.num_directions == 1:
        axes = tuple(axis.replace("L*D", "L").replace("D*", "") for axis in axes)
    parts = [f"{axis}={math.prod(sizes[letter] for letter in axis.split('*'))}" for axis in axes]
    return f"({', '.join(parts)})"


def _hidden(plan: Plan) -> str:
    """The letter of the hidden state's features."""
    return "H" if plan.output_size == plan.hidden_size else "P"


def _steps(plan: Plan, features: str) -> str:
    return _shape(plan, *("NT" if plan.batch_first else "TN"), features)


def _axes(plan: Plan) -> _Rows:
    names = {
        "T": "time, seq_len",
        "N": "batch",
        "I": "input_size",
        "H": "hidden_size",
        "P": "proj_size",
        "L": "num_layers",
        "D": "num_directions",
    }
    return [(letter, str(size), names[letter]) for letter, size in _sizes(plan).items()]


def _given(plan: Plan) -> _Rows:
    every = "every layer's and direction's" if plan.num_directions == 2 else "every layer's"
    rows = [
        ("x", _steps(plan, "I"), "the sequences"),
        (
            "h_0",
            _shape(plan, "L*D", "N", _hidden(plan)),
            f"{every} hidden state before the first step; never batch-first; zero if not given",
        ),
    ]
    if plan.spec.has_cell_state:
        rows.append(("c_0", _shape(plan, "L*D", "N", "H"), f"{every} cell state, the same way"))
    return rows


def _returned(plan: Plan) -> _Rows:
    hidden, cell, both = _hidden(plan), plan.spec.has_cell_state, plan.num_directions == 2
    every = "EVERY layer's and direction's" if both else "EVERY layer's"
    rows = [
        ("output", _steps(plan, f"D*{hidden}"), "the TOP layer's hidden state at EVERY step"),
        ("h_n", _shape(plan, "L*D", "N", hidden), f"{every} hidden state after the LAST step"),
        ("c_n", _shape(plan, "L*D", "N", "H"), f"{every.lower()} cell state after the last step"),
        ("state", "(h_n, c_n)" if cell else "h_n", "pass it to the next call to continue the sequence"),
        (
            "last_output",
            _shape(plan, "N", f"D*{hidden}"),
            "the top layer after the last step: what a head on the last state reads",
        ),
        ("final_hidden", _shape(plan, "L", "D", "N", hidden), "h_n, layers and directions unfolded"),
        ("final_cell", _shape(plan, "L", "D", "N", "H"), "c_n, the same way"),
    ]
    if both:
        rows[0] = (*rows[0][:2], "the TOP layer's hidden state at EVERY step: forward half, then reverse half")
    return [row for row in rows if cell or row[0] not in ("c_n", "final_cell")]


def _without_batch(row: tuple[str, str, str]) -> tuple[str, str, str]:
    name, shape, meaning = row
    shape = shape.replace("N=1, ", "")
    return name, shape, meaning.replace("the sequences", "the sequence").replace("; never batch-first", "")


def _identities(plan: Plan, batched: bool) -> _Rows:
    rows: _Rows = []
    rows_first = plan.batch_first and batched
    first, last = ("output[:, 0", "output[:, -1") if rows_first else ("output[0", "output[-1")
    tracks, hidden, gap = plan.num_directions, plan.output_size, ", :" if batched and not rows_first else ""
    if not plan.seq_len:
        rows.append(("h_n == h_0", "", "there is no step: output is empty, the state is the one given"))
    elif tracks == 1:
        rows.append((f"{last}] == h_n[-1] == last_output", "", "the top layer's last step"))
    else:
        rows += [
            (f"{last}{gap}, :{hidden}] == h_n[-2]", "", "the top layer, forward: its last step is the last in time"),
            (f"{first}{gap}, {hidden}:] == h_n[-1]", "", "the top layer, reverse: its last step is the FIRST in time"),
            ("last_output == concatenate([h_n[-2], h_n[-1]], -1)", "", "both halves after their own last step"),
        ]
    if tracks == 1:
        rows.append(("final_hidden[l, 0] == h_n[l]", "", "layer l"))
    else:
        rows.append(("final_hidden[l, d] == h_n[2 * l + d]", "", "layer l, direction d: 0 forward, 1 reverse"))
    if plan.num_layers > 1:
        lower = "h_n[0]" if plan.num_layers * tracks == 2 else f"h_n[:{(plan.num_layers - 1) * tracks}]"
        rows.append((f"{lower} is not in output", "", "lower layers show in h_n alone"))
    if plan.spec.has_cell_state:
        rows.append(("c_n is not in output", "", "the cell state is memory; the hidden state is what shows"))
    if hidden != plan.hidden_size:
        rows.append(("h_t == weight_hr @ (o * tanh(c_t))", "", "projected at every step: h has P features, c has H"))
    return rows


def _gradients(plan: Plan) -> _Rows:
    state = _shape(plan, "L*D", "N", _hidden(plan))
    rows = [("x", _steps(plan, "I"), ""), ("h_0", state, "or the shape of the state given")]
    if plan.spec.has_cell_state:
        rows.append(("c_0", _shape(plan, "L*D", "N", "H"), "the same way"))
    return [*rows, ("parameters", "dict", "names and shapes of layer.parameters")]


def _memory(plan: Plan, num_parameters: int) -> _Rows:
    weights = num_parameters * plan.dtype.itemsize
    inference, training, less = (plan.bytes_for(purpose) for purpose in ("output", "training", "recomputed"))
    kept = ", ".join([*plan.spec.states, *plan.spec.saved])
    return [
        ("weights", readable(weights), f"{weights} bytes: {num_parameters} numbers of {plan.dtype.name}"),
        ("inference", readable(inference), f"{inference} bytes: output and last states"),
        ("training", readable(training), f"{training} bytes: {kept} of every layer and step, and last states"),
        ("recomputing", readable(less), f"{less} bytes: with recompute=True: h of every layer and step, last states"),
    ]
