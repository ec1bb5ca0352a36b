"""The definition of every layer: its cell's steps over time, in plain NumPy, float64, forward and backward.

The equations are in `reference_cells.py`, whose names stand here too. Nothing here is fast, and nothing is clever.

A stack: layer k's input is layer k-1's output, both directions side by side. The reverse direction of a row of length n
begins at its step n-1. A step beyond a row's length leaves its states as they are, outputs zero, and sends no adjoint
to x. Where a reset is set, the previous states are zero, and no adjoint goes to those before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numrnn.cellspec import CellSpec, parameter_shapes
from numrnn.reference_cells import (
    STEPS,
    Array,
    Arrays,
    Recurrent,
    gru_reset_before_step,
    gru_reset_before_step_backward,
    gru_step,
    gru_step_backward,
    lstm_step,
    lstm_step_backward,
    rnn_relu_step,
    rnn_relu_step_backward,
    rnn_tanh_step,
    rnn_tanh_step_backward,
    sigmoid,
)

__all__ = [
    "STEPS",
    "LayerTrace",
    "Recurrent",
    "Trace",
    "backward",
    "forward",
    "gru_reset_before_step",
    "gru_reset_before_step_backward",
    "gru_step",
    "gru_step_backward",
    "lstm_step",
    "lstm_step_backward",
    "rnn_relu_step",
    "rnn_relu_step_backward",
    "rnn_tanh_step",
    "rnn_tanh_step_backward",
    "sigmoid",
]


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """What one direction of one layer read and computed.

    Attributes
    ----------
    suffix
        What its parameters' names end with: `l0`, `l0_reverse`, `l1`, ...
    x
        (T, N, I), the layer's input.
    valid
        (T, N), which steps a row has.
    resets
        (T, N), before which steps its states become zero.
    states
        Name -> (T + 1, N, H). States lie between steps: step t leads from index t to t + 1, in reverse from t + 1 to t.
    saved
        Name -> (T, N, H).
    unprojected
        (T, N, H), m_t; empty without a projection.
    """

    suffix: str
    x: Array
    valid: NDArray[np.bool_]
    resets: NDArray[np.bool_]
    states: dict[str, Array]
    saved: dict[str, Array]
    unprojected: Array

    @property
    def steps(self) -> list[tuple[int, int, int]]:
        """(t, index of the states before it, index of those after it), as the direction takes them."""
        seq_len = len(self.x)
        if self.suffix.endswith("_reverse"):
            return [(t, t + 1, t) for t in reversed(range(seq_len))]
        return [(t, t, t + 1) for t in range(seq_len)]

    @property
    def hidden(self) -> Array:
        """(T, N, H_out): h_t, zero where a row has no step t."""
        return self.after("h")

    def after(self, name: str) -> Array:
        """(T, N, H): a state after each step, zero where a row has no such step."""
        value = self.states[name]
        return np.where(self.valid[:, :, None], value[:-1] if self.suffix.endswith("_reverse") else value[1:], 0.0)

    @property
    def last(self) -> dict[str, Array]:
        """Name -> (N, H): the states after every row's last step."""
        return {name: value[0 if self.suffix.endswith("_reverse") else -1] for name, value in self.states.items()}

    def previous(self, t: int, before: int) -> Arrays:
        """States that step t starts from, for the rows that have it."""
        rows = self.valid[t]
        reset = self.resets[t, rows, None]
        return tuple(np.where(reset, 0.0, value[before, rows]) for value in self.states.values())


@dataclass(frozen=True, slots=True)
class Trace:
    """A forward pass with all that its backward pass needs: layers from the bottom, directions inner, as in h_n."""

    spec: CellSpec
    parameters: dict[str, Array]
    layers: tuple[LayerTrace, ...]
    num_directions: int

    @property
    def output(self) -> Array:
        """(T, N, D * H_out): h_t of the top layer, directions side by side."""
        return np.concatenate([layer.hidden for layer in self.layers[-self.num_directions :]], axis=-1)

    @property
    def h_n(self) -> Array:
        """(L * D, N, H_out): the last hidden state of every layer and direction."""
        return np.stack([layer.last["h"] for layer in self.layers])

    @property
    def c_n(self) -> Array | None:
        """(L * D, N, H): the last cell state of every layer and direction; None where the cell has none."""
        return np.stack([layer.last["c"] for layer in self.layers]) if self.spec.has_cell_state else None


@np.errstate(invalid="ignore")  # Inf - Inf is NaN without a warning, as in the kernels
def forward(
    spec: CellSpec,
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    h_0: ArrayLike | None = None,
    c_0: ArrayLike | None = None,
    *,
    num_layers: int = 1,
    num_directions: int = 1,
    lengths: ArrayLike | None = None,
    resets: ArrayLike | None = None,
) -> Trace:
    """Run a stack over `x` (T, N, I) from `h_0` (L * D, N, H_out) and `c_0` (L * D, N, H); None is zero.

    `parameters` maps PyTorch's names to arrays; absent biases are zero, and `weight_hr_*` make it project. `lengths`
    (N,), `resets` (T, N). Whatever comes in is computed in float64.
    """
    weights = {name: np.asarray(value, dtype=np.float64) for name, value in parameters.items()}
    inputs = np.asarray(x, dtype=np.float64)
    seq_len, batch_size, _ = inputs.shape
    valid = np.arange(seq_len)[:, None] < np.broadcast_to(seq_len if lengths is None else lengths, batch_size)
    reset = np.broadcast_to(False if resets is None else np.asarray(resets, dtype=bool), valid.shape)
    layers: list[LayerTrace] = []
    for k in range(num_layers):
        for suffix in (f"l{k}", f"l{k}_reverse")[:num_directions]:
            rows, width = weights[f"weight_hh_{suffix}"].shape
            hidden_size = rows // spec.num_gates
            states = {name: np.zeros((seq_len + 1, batch_size, hidden_size)) for name in spec.states}
            states["h"] = np.zeros((seq_len + 1, batch_size, width))
            for name, given in {"h": h_0, "c": c_0}.items():
                if given is not None:
                    states[name][...] = np.asarray(given)[len(layers)]
            saved = {name: np.zeros((seq_len, batch_size, hidden_size)) for name in spec.saved}
            unprojected = np.zeros((seq_len, batch_size, hidden_size if width < hidden_size else 0))
            layers.append(LayerTrace(suffix, inputs, valid, reset, states, saved, unprojected))
            _run(spec, weights, layers[-1])
        inputs = Trace(spec, weights, tuple(layers), num_directions).output
    return Trace(spec, weights, tuple(layers), num_directions)


def _sides(
    spec: CellSpec, weights: Mapping[str, Array], suffix: str
) -> tuple[Array, Array | float, Recurrent, Array | None]:
    """W_ih, b_ih, the recurrent side, and W_hr, of one direction of one layer."""
    vectors = tuple(weights[f"weight_{name}_{suffix}"] for name in spec.vectors)
    recurrent = Recurrent(weights[f"weight_hh_{suffix}"], weights.get(f"bias_hh_{suffix}", 0.0), vectors)
    b_ih = weights.get(f"bias_ih_{suffix}", 0.0)
    return weights[f"weight_ih_{suffix}"], b_ih, recurrent, weights.get(f"weight_hr_{suffix}")


def _run(spec: CellSpec, weights: Mapping[str, Array], layer: LayerTrace) -> None:
    """Fill in the states and saved values of one direction of one layer."""
    step, _ = STEPS[spec.name]
    w_ih, b_ih, recurrent, w_hr = _sides(spec, weights, layer.suffix)
    for t, before, after in layer.steps:
        rows = layer.valid[t]
        u = layer.x[t, rows] @ w_ih.T + b_ih  # (P1)
        new, kept = step(u, recurrent, layer.previous(t, before))
        if w_hr is not None:
            layer.unprojected[t, rows] = new[0]
            new = (new[0] @ w_hr.T, *new[1:])  # (P9)
        for value, fresh in zip(layer.states.values(), new, strict=True):
            value[after] = value[before]
            value[after, rows] = fresh
        for value, fresh in zip(layer.saved.values(), kept, strict=True):
            value[t, rows] = fresh


@np.errstate(invalid="ignore")
def backward(
    trace: Trace,
    d_output: ArrayLike | None = None,
    d_h_n: ArrayLike | None = None,
    d_c_n: ArrayLike | None = None,
) -> tuple[Array, Array, Array | None, dict[str, Array]]:
    """Gradients `(d_x, d_h_0, d_c_0, d_parameters)` from the cotangents of `output`, `h_n`, `c_n`; None is zero.

    `d_c_0` is None where the cell has no cell state; `d_parameters` has PyTorch's names in PyTorch's order.
    """
    spec, num_directions = trace.spec, trace.num_directions
    # adjoints of the states of every layer and direction: at first of the last states, at the end of the initial ones
    d_states = {name: np.stack([np.zeros_like(layer.last[name]) for layer in trace.layers]) for name in spec.states}
    for name, given in {"h": d_h_n, "c": d_c_n}.items():
        if given is not None:
            d_states[name][...] = given
    d_above = np.zeros_like(trace.output)
    if d_output is not None:
        d_above[...] = d_output
    d_weights = {name: np.zeros_like(value) for name, value in trace.parameters.items()}
    for k in reversed(range(0, len(trace.layers), num_directions)):
        d_x = np.zeros_like(trace.layers[k].x)
        for d, d_hidden in enumerate(np.split(d_above, num_directions, axis=-1)):
            d_layer = tuple(value[k + d] for value in d_states.values())
            _run_backward(spec, trace.parameters, trace.layers[k + d], d_hidden, d_layer, d_x, d_weights)
        d_above = d_x
    rows, width = trace.parameters["weight_hh_l0"].shape
    hidden_size, bias = rows // spec.num_gates, "bias_ih_l0" in d_weights
    proj_size = width if "weight_hr_l0" in d_weights else 0
    num_layers = len(trace.layers) // num_directions
    names = parameter_shapes(spec, d_x.shape[-1], hidden_size, num_layers, bias, num_directions, proj_size)
    return d_x, d_states["h"], d_states.get("c"), {name: d_weights[name] for name in names}


def _run_backward(
    spec: CellSpec,
    weights: Mapping[str, Array],
    layer: LayerTrace,
    d_hidden: Array,
    d_states: Arrays,
    d_x: Array,
    d_weights: Mapping[str, Array],
) -> None:
    """Take `d_states` back to the initial states in place, and add to `d_x` and `d_weights`."""
    _, step_backward = STEPS[spec.name]
    suffix = layer.suffix
    w_ih, _, recurrent, w_hr = _sides(spec, weights, suffix)
    for t, before, after in reversed(layer.steps):
        rows = layer.valid[t]
        previous = layer.previous(t, before)
        dh, *others = (value[rows] for value in d_states)
        dh = dh + d_hidden[t, rows]
        if w_hr is not None:
            d_weights[f"weight_hr_{suffix}"] += dh.T @ layer.unprojected[t, rows]  # (P11)
            dh = dh @ w_hr  # (P10)
        states = tuple(value[after, rows] for value in layer.states.values())
        saved = tuple(value[t, rows] for value in layer.saved.values())
        found: tuple[Any, ...] = step_backward((dh, *others), recurrent, previous, states, saved)
        du, products, d_previous, *d_vectors = found
        for value, fresh in zip(d_states, d_previous, strict=True):
            value[rows] = np.where(layer.resets[t, rows, None], 0.0, fresh)
        d_x[t, rows] += du @ w_ih  # (P3)
        d_weights[f"weight_ih_{suffix}"] += du.T @ layer.x[t, rows]  # (P5)
        for dv, operand in products:
            d_weights[f"weight_hh_{suffix}"] += dv.T @ operand  # (P6)
        if f"bias_ih_{suffix}" in d_weights:
            d_weights[f"bias_ih_{suffix}"] += du.sum(axis=0)  # (P7)
            d_weights[f"bias_hh_{suffix}"] += sum(dv.sum(axis=0) for dv, _ in products)  # (P8)
        for name, d_vector in zip(spec.vectors, d_vectors, strict=True):
            d_weights[f"weight_{name}_{suffix}"] += d_vector.sum(axis=0)
