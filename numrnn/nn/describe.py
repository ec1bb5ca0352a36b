"""The shapes of a call, explained: named axes, what equals what, and the memory needed."""

from __future__ import annotations

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
    lines = [repr(layer), f"  x.shape = {sizes} is read as {signature.axes} because batch_first={plan.batch_first}."]
    for title, rows in (
        ("axes", _axes(plan)),
        ("given", _given(plan)),
        ("returned", _returned(plan)),
        ("identities", _identities(plan)),
        ("gradients, of vjp's pullback", _gradients(plan)),
        ("memory", _memory(plan, layer.num_parameters)),
    ):
        names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
        lines += ["", f"  {title}", *(f"    {a:<{names}}  {b:<{values}}  {c}".rstrip() for a, b, c in rows)]
    return "\n".join(lines)


def _sizes(plan: Plan) -> dict[str, int]:
    return {
        "T": plan.seq_len,
        "N": plan.batch_size,
        "I": plan.input_size,
        "H": plan.hidden_size,
        "L": plan.num_layers,
        "D": 1,
    }


def _shape(plan: Plan, letters: str) -> str:
    """Write a shape with the letter and the size of each axis."""
    sizes = _sizes(plan)
    return f"({', '.join(f'{letter}={sizes[letter]}' for letter in letters)})"


def _steps(plan: Plan, features: str) -> str:
    return _shape(plan, ("NT" if plan.batch_first else "TN") + features)


def _axes(plan: Plan) -> _Rows:
    names = ("time, seq_len", "batch", "input_size", "hidden_size", "num_layers", "num_directions")
    return [(letter, str(size), name) for (letter, size), name in zip(_sizes(plan).items(), names, strict=True)]


def _given(plan: Plan) -> _Rows:
    state = _shape(plan, "LNH")
    rows = [
        ("x", _steps(plan, "I"), "the sequences"),
        ("h_0", state, "every layer's hidden state before the first step; never batch-first; zero if not given"),
    ]
    return [*rows, ("c_0", state, "every layer's cell state, the same way")] if plan.spec.has_cell_state else rows


def _returned(plan: Plan) -> _Rows:
    state, unfolded = _shape(plan, "LNH"), _shape(plan, "LDNH")
    cell = plan.spec.has_cell_state
    rows = [
        ("output", _steps(plan, "H"), "the TOP layer's hidden state at EVERY step"),
        ("h_n", state, "EVERY layer's hidden state after the LAST step"),
        ("c_n", state, "every layer's cell state after the last step"),
        ("state", "(h_n, c_n)" if cell else "h_n", "pass it to the next call to continue the sequence"),
        ("last_output", _shape(plan, "NH"), "the top layer after the last step: what a head on the last state reads"),
        ("final_hidden", unfolded, "h_n, layers and directions unfolded"),
        ("final_cell", unfolded, "c_n, the same way"),
    ]
    return [row for row in rows if cell or row[0] not in ("c_n", "final_cell")]


def _identities(plan: Plan) -> _Rows:
    rows: _Rows = []
    if plan.seq_len:
        last = "output[:, -1]" if plan.batch_first else "output[-1]"
        rows.append((f"{last} == h_n[-1] == last_output", "", "the top layer's last step"))
    else:
        rows.append(("h_n == h_0", "", "there is no step: output is empty, the state is the one given"))
    rows.append(("final_hidden[l, 0] == h_n[l]", "", "layer l"))
    if plan.num_layers > 1:
        lower = "h_n[0]" if plan.num_layers == 2 else f"h_n[:{plan.num_layers - 1}]"
        rows.append((f"{lower} is not in output", "", "lower layers show in h_n alone"))
    if plan.spec.has_cell_state:
        rows.append(("c_n is not in output", "", "the cell state is memory; the hidden state is what shows"))
    return rows


def _gradients(plan: Plan) -> _Rows:
    rows = [("x", _steps(plan, "I"), ""), ("h_0", _shape(plan, "LNH"), "or the shape of the state given")]
    if plan.spec.has_cell_state:
        rows.append(("c_0", _shape(plan, "LNH"), "the same way"))
    return [*rows, ("parameters", "dict", "names and shapes of layer.parameters")]


def _memory(plan: Plan, num_parameters: int) -> _Rows:
    weights = num_parameters * plan.dtype.itemsize
    inference, training = plan.bytes_for("output"), plan.bytes_for("training")
    kept = ", ".join([*plan.spec.states, *plan.spec.saved])
    return [
        ("weights", readable(weights), f"{weights} bytes: {num_parameters} numbers of {plan.dtype.name}"),
        ("inference", readable(inference), f"{inference} bytes: output and last states"),
        ("training", readable(training), f"{training} bytes: {kept} of every layer and step, and last states"),
    ]
