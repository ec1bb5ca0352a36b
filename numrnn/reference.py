"""The definition of every cell: plain NumPy, float64, forward and backward.

The only place where the formulas are written: kernels cite the equation numbers, tests compare with the functions.
Nothing here is fast, and nothing is clever.

A step of every cell sees its input and its previous state through two products, W split into one row block per gate,

    (P1)  u = W_ih x_t + b_ih          the input side
    (P2)  v = W_hh h_{t-1} + b_hh      the recurrent side

and differs from other cells only in what it does with them, element by element: `lstm_step`, `gru_step`,
`rnn_tanh_step`, `rnn_relu_step`. Backward, with du, dv the adjoints of u, v from the cell's own step, every cell has

    (P3)  dx_t      = W_ih^T du        (P5)  dW_ih += du x_t^T        (P7)  db_ih += du
    (P4)  dh_{t-1} += W_hh^T dv        (P6)  dW_hh += dv h_{t-1}^T    (P8)  db_hh += dv

which is back-propagation through time (Werbos 1990, doi:10.1109/5.58337).

Notation: `*` element by element, sigma the logistic function, d<name> the adjoint of <name>. dh_t enters a step as the
sum of what comes from output_t, from step t+1 and, at the last step, from h_n; dc_t likewise, but output holds no c.
Layer k's input is layer k-1's output.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numrnn.cellspec import CellSpec, parameter_shapes

__all__ = [
    "LayerTrace",
    "Trace",
    "backward",
    "forward",
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

Array: TypeAlias = NDArray[np.float64]
Arrays: TypeAlias = tuple[Array, ...]  # one step's states or saved values, each (N, H), in the order of `CellSpec`


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow and with full relative accuracy on both sides."""
    decay: Array = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, decay) / (1.0 + decay)


# One step of each cell: (u, v, previous states) -> states, saved
# and its adjoint:        (d_states, previous states, states, saved) -> du, dv, d_previous (what (P4) adds to)


def lstm_step(u: Array, v: Array, previous: Arrays) -> tuple[Arrays, Arrays]:
    """One step of the LSTM. `u`, `v` (N, 4H) hold the row blocks i, f, g, o.

    (L1)  i = sigma(u_i + v_i)        (L4)  o   = sigma(u_o + v_o)
    (L2)  f = sigma(u_f + v_f)        (L5)  c_t = f * c_{t-1} + i * g
    (L3)  g = tanh(u_g + v_g)         (L6)  h_t = o * tanh(c_t)

    Source: Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; the forget gate (L2): Gers, Schmidhuber &
    Cummins 2000, doi:10.1162/089976600300015015, section 3. Gate order and both biases as in PyTorch's `nn.LSTM`.
    """
    _, c_prev = previous
    pre_i, pre_f, pre_g, pre_o = np.split(u + v, 4, axis=-1)
    i = sigmoid(pre_i)
    f = sigmoid(pre_f)
    g = np.tanh(pre_g)
    o = sigmoid(pre_o)
    c = f * c_prev + i * g
    h = o * np.tanh(c)
    return (h, c), (i, f, g, o)


def lstm_step_backward(
    d_states: Arrays, previous: Arrays, states: Arrays, saved: Arrays
) -> tuple[Array, Array, Arrays]:
    """Adjoint of `lstm_step`; dc is what step t+1 (or c_n) sends.

    (L7)   do  = dh * tanh(c_t)                        (L11)  dg       = dc' * i
    (L8)   dc' = dc + dh * o * (1 - tanh(c_t)^2)       (L12)  dc_{t-1} = dc' * f
    (L9)   di  = dc' * g                               (L13)  du_y = dv_y = dy * y (1 - y)    y in i, f, o
    (L10)  df  = dc' * c_{t-1}                         (L14)  du_g = dv_g = dg * (1 - g^2)

    h_{t-1} enters through v alone: its element-wise part is zero.
    """
    dh, dc = d_states
    _, c_prev = previous
    _, c = states
    i, f, g, o = saved
    tanh_c = np.tanh(c)
    do = dh * tanh_c
    dc = dc + dh * o * (1 - tanh_c**2)
    di = dc * g
    df = dc * c_prev
    dg = dc * i
    d_pre = np.concatenate((di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)), axis=-1)
    return d_pre, d_pre, (np.zeros_like(dh), dc * f)


def gru_step(u: Array, v: Array, previous: Arrays) -> tuple[Arrays, Arrays]:
    """One step of the GRU, reset gate after the recurrent product. `u`, `v` (N, 3H) hold the row blocks r, z, n.

    (G1)  r = sigma(u_r + v_r)        (G3)  n   = tanh(u_n + r * v_n)        v_n = W_hn h_{t-1} + b_hn, saved as `hn`
    (G2)  z = sigma(u_z + v_z)        (G4)  h_t = (1 - z) * n + z * h_{t-1}

    Source: Cho et al. 2014, arXiv:1406.1078, section 2.3, with the reset after the product and its bias, as in cuDNN
    and in PyTorch's `nn.GRU`. Therefore b_in and b_hn cannot be merged.
    """
    (h_prev,) = previous
    u_r, u_z, u_n = np.split(u, 3, axis=-1)
    v_r, v_z, hn = np.split(v, 3, axis=-1)
    r = sigmoid(u_r + v_r)
    z = sigmoid(u_z + v_z)
    n = np.tanh(u_n + r * hn)
    h = (1 - z) * n + z * h_prev
    return (h,), (r, z, n, hn)


def gru_step_backward(d_states: Arrays, previous: Arrays, states: Arrays, saved: Arrays) -> tuple[Array, Array, Arrays]:
    """Adjoint of `gru_step`. The input and the recurrent side differ in the block n only.

    (G5)  du_n = dh * (1 - z) * (1 - n^2)                       (G8)  dv_n = du_n * r
    (G6)  du_r = dv_r = du_n * hn * r (1 - r)                   (G9)  dh_{t-1} = dh * z, to which (P4) adds
    (G7)  du_z = dv_z = dh * (h_{t-1} - n) * z (1 - z)
    """
    (dh,) = d_states
    (h_prev,) = previous
    r, z, n, hn = saved
    du_n = dh * (1 - z) * (1 - n**2)
    du_r = du_n * hn * r * (1 - r)
    du_z = dh * (h_prev - n) * z * (1 - z)
    du = np.concatenate((du_r, du_z, du_n), axis=-1)
    dv = np.concatenate((du_r, du_z, du_n * r), axis=-1)
    return du, dv, (dh * z,)


def rnn_tanh_step(u: Array, v: Array, previous: Arrays) -> tuple[Arrays, Arrays]:
    """One step of the simple recurrent network. `u`, `v` (N, H).

    (R1)  h_t = tanh(u + v)

    Source: Elman 1990, doi:10.1207/s15516709cog1402_1.
    """
    return (np.tanh(u + v),), ()


def rnn_tanh_step_backward(
    d_states: Arrays, previous: Arrays, states: Arrays, saved: Arrays
) -> tuple[Array, Array, Arrays]:
    """Adjoint of `rnn_tanh_step`.

    (R2)  du = dv = dh * (1 - h_t^2)
    """
    (dh,), (h,) = d_states, states
    d_pre = dh * (1 - h**2)
    return d_pre, d_pre, (np.zeros_like(dh),)


def rnn_relu_step(u: Array, v: Array, previous: Arrays) -> tuple[Arrays, Arrays]:
    """One step of the simple recurrent network with rectified units. `u`, `v` (N, H). NaN stays NaN.

    (R3)  h_t = max(u + v, 0)

    Source: Le, Jaitly & Hinton 2015, arXiv:1504.00941.
    """
    return (np.maximum(u + v, 0.0),), ()


def rnn_relu_step_backward(
    d_states: Arrays, previous: Arrays, states: Arrays, saved: Arrays
) -> tuple[Array, Array, Arrays]:
    """Adjoint of `rnn_relu_step`; the derivative at zero is zero.

    (R4)  du = dv = dh where h_t > 0, else 0
    """
    (dh,), (h,) = d_states, states
    d_pre = np.where(h > 0, dh, 0.0)
    return d_pre, d_pre, (np.zeros_like(dh),)


Step: TypeAlias = Callable[[Array, Array, Arrays], tuple[Arrays, Arrays]]
StepBackward: TypeAlias = Callable[[Arrays, Arrays, Arrays, Arrays], tuple[Array, Array, Arrays]]

STEPS: dict[str, tuple[Step, StepBackward]] = {
    "lstm": (lstm_step, lstm_step_backward),
    "gru": (gru_step, gru_step_backward),
    "rnn_tanh": (rnn_tanh_step, rnn_tanh_step_backward),
    "rnn_relu": (rnn_relu_step, rnn_relu_step_backward),
}


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """What one layer read and computed.

    Attributes
    ----------
    x
        (T, N, I), the layer's input.
    states
        Name -> (T + 1, N, H); index 0 is the initial state, index t + 1 the state after step t.
    saved
        Name -> (T, N, H).
    """

    x: Array
    states: dict[str, Array]
    saved: dict[str, Array]


@dataclass(frozen=True, slots=True)
class Trace:
    """A forward pass with all that its backward pass needs, bottom layer first."""

    spec: CellSpec
    parameters: dict[str, Array]
    layers: tuple[LayerTrace, ...]

    @property
    def output(self) -> Array:
        """(T, N, H): h_t of the top layer."""
        return self.layers[-1].states["h"][1:]

    @property
    def h_n(self) -> Array:
        """(L, N, H): the last hidden state of every layer."""
        return np.stack([layer.states["h"][-1] for layer in self.layers])

    @property
    def c_n(self) -> Array | None:
        """(L, N, H): the last cell state of every layer; None where the cell has none."""
        return np.stack([layer.states["c"][-1] for layer in self.layers]) if self.spec.has_cell_state else None


@np.errstate(invalid="ignore")  # Inf - Inf is NaN without a warning, as in the kernels
def forward(
    spec: CellSpec,
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    h_0: ArrayLike | None = None,
    c_0: ArrayLike | None = None,
    *,
    num_layers: int = 1,
) -> Trace:
    """Run a stack of `num_layers` layers over `x` (T, N, I) from `h_0`, `c_0` (L, N, H); None is zero.

    `parameters` maps PyTorch's names to arrays; absent biases are zero. Whatever comes in is computed in float64.
    """
    step, _ = STEPS[spec.name]
    weights = {name: np.asarray(value, dtype=np.float64) for name, value in parameters.items()}
    inputs = np.asarray(x, dtype=np.float64)
    seq_len, batch_size, _ = inputs.shape
    hidden_size = weights["weight_hh_l0"].shape[1]
    initial = {"h": h_0, "c": c_0}
    layers: list[LayerTrace] = []
    for k in range(num_layers):
        w_ih, w_hh = weights[f"weight_ih_l{k}"], weights[f"weight_hh_l{k}"]
        b_ih, b_hh = weights.get(f"bias_ih_l{k}", 0.0), weights.get(f"bias_hh_l{k}", 0.0)
        states = {name: np.zeros((seq_len + 1, batch_size, hidden_size)) for name in spec.states}
        saved = {name: np.zeros((seq_len, batch_size, hidden_size)) for name in spec.saved}
        for name, given in initial.items():
            if given is not None:
                states[name][0] = np.asarray(given)[k]
        for t in range(seq_len):
            u = inputs[t] @ w_ih.T + b_ih  # (P1)
            v = states["h"][t] @ w_hh.T + b_hh  # (P2)
            new, kept = step(u, v, _at(states, t))
            _put(states, t + 1, new)
            _put(saved, t, kept)
        layers.append(LayerTrace(inputs, states, saved))
        inputs = states["h"][1:]
    return Trace(spec, weights, tuple(layers))


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
    spec, num_layers = trace.spec, len(trace.layers)
    _, step_backward = STEPS[spec.name]
    seq_len, batch_size, hidden_size = trace.output.shape
    # adjoints of the states of every layer: at first of the last states, at the end of the initial ones
    d_states = {name: np.zeros((num_layers, batch_size, hidden_size)) for name in spec.states}
    for name, given in {"h": d_h_n, "c": d_c_n}.items():
        if given is not None:
            d_states[name][...] = given
    d_above = np.zeros((seq_len, batch_size, hidden_size))
    if d_output is not None:
        d_above[...] = d_output
    d_weights = {name: np.zeros_like(value) for name, value in trace.parameters.items()}
    for k in reversed(range(num_layers)):
        layer = trace.layers[k]
        w_ih, w_hh = trace.parameters[f"weight_ih_l{k}"], trace.parameters[f"weight_hh_l{k}"]
        d_x = np.zeros_like(layer.x)
        for t in reversed(range(seq_len)):
            d_states["h"][k] += d_above[t]
            du, dv, d_previous = step_backward(
                _at(d_states, k), _at(layer.states, t), _at(layer.states, t + 1), _at(layer.saved, t)
            )
            _put(d_states, k, d_previous)
            d_x[t] = du @ w_ih  # (P3)
            d_states["h"][k] += dv @ w_hh  # (P4)
            d_weights[f"weight_ih_l{k}"] += du.T @ layer.x[t]  # (P5)
            d_weights[f"weight_hh_l{k}"] += dv.T @ layer.states["h"][t]  # (P6)
            if f"bias_ih_l{k}" in d_weights:
                d_weights[f"bias_ih_l{k}"] += du.sum(axis=0)  # (P7)
                d_weights[f"bias_hh_l{k}"] += dv.sum(axis=0)  # (P8)
        d_above = d_x
    names = parameter_shapes(spec, d_above.shape[-1], hidden_size, num_layers, "bias_ih_l0" in d_weights)
    return d_above, d_states["h"], d_states.get("c"), {name: d_weights[name] for name in names}


def _at(arrays: Mapping[str, Array], t: int) -> Arrays:
    return tuple(array[t] for array in arrays.values())


def _put(arrays: Mapping[str, Array], t: int, values: Arrays) -> None:
    for array, value in zip(arrays.values(), values, strict=True):
        array[t] = value
