"""The equations of every cell: one step in plain NumPy, float64, forward and backward. `reference.py` walks over time.

The only place where the formulas are written: kernels cite the equation numbers, tests compare with the functions.
Nothing here is fast, and nothing is clever.

A step of every cell sees its input and its previous state through two products, W split into one row block per gate,

    (P1)  u = W_ih x_t + b_ih          the input side
    (P2)  v = W_hh h_{t-1} + b_hh      the recurrent side

and differs from other cells only in what it does with them, element by element: `lstm_step`, `gru_step`,
`rnn_tanh_step`, `rnn_relu_step`. `gru_reset_before_step` applies the recurrent side twice, to other operands than
h_{t-1} too. Backward, with du, dv the adjoints of u, v from the cell's own step, every cell has

    (P3)  dx_t      = W_ih^T du        (P5)  dW_ih += du x_t^T        (P7)  db_ih += du
    (P4)  dh_{t-1} += W_hh^T dv        (P6)  dW_hh += dv h_{t-1}^T    (P8)  db_hh += dv

which is back-propagation through time (Werbos 1990, doi:10.1109/5.58337). An LSTM may be followed, at every step, by a
projection (Sak et al. 2014, arXiv:1402.1128). What the equations below call h_t is then m_t, and

    (P9)  h_t = W_hr m_t               (P10)  dm_t = W_hr^T dh_t      (P11)  dW_hr += dh_t m_t^T

Notation: `*` element by element, sigma the logistic function, d<name> the adjoint of <name>. dh_t enters a step as the
sum of what comes from output_t, from the step taken after t and, at a row's last step, from h_n; dc_t likewise, but
output holds no c. "t-1" is the step taken before t, which for the reverse direction is t+1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "STEPS",
    "Array",
    "Arrays",
    "Recurrent",
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

Array: TypeAlias = NDArray[np.float64]
Arrays: TypeAlias = tuple[Array, ...]  # one step's states or saved values, each (N, H), in the order of `CellSpec`
Products: TypeAlias = tuple[tuple[Array, Array], ...]  # (dv, operand) of every use of the recurrent side


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow and with full relative accuracy on both sides."""
    decay: Array = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, decay) / (1.0 + decay)


@dataclass(frozen=True, slots=True)
class Recurrent:
    """The recurrent side of a step, as a function of its operand: h_{t-1}, or r * h_{t-1}."""

    weight: Array
    bias: Array | float
    vectors: Arrays = ()  # of a user's own cell

    def __call__(self, operand: Array) -> Array:
        """(P2): v, (N, G*H)."""
        return operand @ self.weight.T + self.bias

    def adjoint(self, dv: Array) -> Array:
        """(P4): what v's adjoint sends to the operand."""
        return dv @ self.weight


# One step of each cell: (u, recurrent, previous states) -> states, saved
# and its adjoint:       (d_states, recurrent, previous states, states, saved) -> du, products, d_previous
# of a user's own cell   the same, then for each of its vectors the adjoint, a row for each row


def lstm_step(u: Array, recurrent: Recurrent, previous: Arrays) -> tuple[Arrays, Arrays]:
    """One step of the LSTM. u, v are (N, 4H), of row blocks i, f, g, o.

    (L1)  i = sigma(u_i + v_i)        (L4)  o   = sigma(u_o + v_o)
    (L2)  f = sigma(u_f + v_f)        (L5)  c_t = f * c_{t-1} + i * g
    (L3)  g = tanh(u_g + v_g)         (L6)  h_t = o * tanh(c_t)

    Source: Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; the forget gate (L2): Gers, Schmidhuber &
    Cummins 2000, doi:10.1162/089976600300015015, section 3. Gate order and both biases as in PyTorch's `nn.LSTM`.
    """
    h_prev, c_prev = previous
    pre_i, pre_f, pre_g, pre_o = np.split(u + recurrent(h_prev), 4, axis=-1)
    i = sigmoid(pre_i)
    f = sigmoid(pre_f)
    g = np.tanh(pre_g)
    o = sigmoid(pre_o)
    c = f * c_prev + i * g
    h = o * np.tanh(c)
    return (h, c), (i, f, g, o)


def lstm_step_backward(
    d_states: Arrays, recurrent: Recurrent, previous: Arrays, states: Arrays, saved: Arrays
) -> tuple[Array, Products, Arrays]:
    """Adjoint of `lstm_step`; dc is what step t+1 (or c_n) sends.

    (L7)   do  = dh * tanh(c_t)                        (L11)  dg       = dc' * i
    (L8)   dc' = dc + dh * o * (1 - tanh(c_t)^2)       (L12)  dc_{t-1} = dc' * f
    (L9)   di  = dc' * g                               (L13)  du_y = dv_y = dy * y (1 - y)    y in i, f, o
    (L10)  df  = dc' * c_{t-1}                         (L14)  du_g = dv_g = dg * (1 - g^2)
    """
    dh, dc = d_states
    h_prev, c_prev = previous
    _, c = states
    i, f, g, o = saved
    tanh_c = np.tanh(c)
    do = dh * tanh_c
    dc = dc + dh * o * (1 - tanh_c**2)
    di = dc * g
    df = dc * c_prev
    dg = dc * i
    d_pre = np.concatenate((di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)), axis=-1)
    return d_pre, ((d_pre, h_prev),), (recurrent.adjoint(d_pre), dc * f)


def gru_step(u: Array, recurrent: Recurrent, previous: Arrays) -> tuple[Arrays, Arrays]:
    """One step of the GRU, reset gate after the recurrent product. u, v are (N, 3H), of row blocks r, z, n.

    (G1)  r = sigma(u_r + v_r)        (G3)  n   = tanh(u_n + r * v_n)        v_n = W_hn h_{t-1} + b_hn, saved as `hn`
    (G2)  z = sigma(u_z + v_z)        (G4)  h_t = (1 - z) * n + z * h_{t-1}

    Source: Cho et al. 2014, arXiv:1406.1078, section 2.3, with the reset after the product and its bias, as in cuDNN
    and in PyTorch's `nn.GRU`. Therefore b_in and b_hn cannot be merged.
    """
    (h_prev,) = previous
    u_r, u_z, u_n = np.split(u, 3, axis=-1)
    v_r, v_z, hn = np.split(recurrent(h_prev), 3, axis=-1)
    r = sigmoid(u_r + v_r)
    z = sigmoid(u_z + v_z)
    n = np.tanh(u_n + r * hn)
    h = (1 - z) * n + z * h_prev
    return (h,), (r, z, n, hn)


def gru_step_backward(
    d_states: Arrays, recurrent: Recurrent, previous: Arrays, states: Arrays, saved: Arrays
) -> tuple[Array, Products, Arrays]:
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
    return du, ((dv, h_prev),), (dh * z + recurrent.adjoint(dv),)


def gru_reset_before_step(u: Array, recurrent: Recurrent, previous: Arrays) -> tuple[Arrays, Arrays]:
    """One step of the GRU, reset gate before the recurrent product. u, v, w are (N, 3H), of row blocks r, z, n.

    (B1)  r = sigma(u_r + v_r)        (B3)  n   = tanh(u_n + w_n)            w_n = W_hn (r * h_{t-1}) + b_hn
    (B2)  z = sigma(u_z + v_z)        (B4)  h_t = (1 - z) * n + z * h_{t-1}

    Source: Cho et al. 2014, arXiv:1406.1078, section 2.3; z and 1 - z as in (G4). ONNX's `linear_before_reset=0`,
    Keras's `reset_after=False`.
    """
    (h_prev,) = previous
    u_r, u_z, u_n = np.split(u, 3, axis=-1)
    v_r, v_z, _ = np.split(recurrent(h_prev), 3, axis=-1)
    r = sigmoid(u_r + v_r)
    z = sigmoid(u_z + v_z)
    _, _, w_n = np.split(recurrent(r * h_prev), 3, axis=-1)
    n = np.tanh(u_n + w_n)
    h = (1 - z) * n + z * h_prev
    return (h,), (r, z, n)


def gru_reset_before_step_backward(
    d_states: Arrays, recurrent: Recurrent, previous: Arrays, states: Arrays, saved: Arrays
) -> tuple[Array, Products, Arrays]:
    """Adjoint of `gru_reset_before_step`. The rows n of W_hh meet r * h_{t-1}, the others h_{t-1}.

    (B5)  du_n = dw_n = dh * (1 - z) * (1 - n^2)                (B7)  du_r = dv_r = q * h_{t-1} * r (1 - r)
    (B6)  q = W_hn^T dw_n, the adjoint of r * h_{t-1}           (B8)  du_z = dv_z = dh * (h_{t-1} - n) * z (1 - z)
    (B9)  dh_{t-1} = dh * z + q * r, to which (P4) adds
    """
    (dh,) = d_states
    (h_prev,) = previous
    r, z, n = saved
    zero = np.zeros_like(r)
    du_n = dh * (1 - z) * (1 - n**2)
    dw = np.concatenate((zero, zero, du_n), axis=-1)
    q = recurrent.adjoint(dw)
    du_r = q * h_prev * r * (1 - r)
    du_z = dh * (h_prev - n) * z * (1 - z)
    dv = np.concatenate((du_r, du_z, zero), axis=-1)
    return dv + dw, ((dv, h_prev), (dw, r * h_prev)), (dh * z + q * r + recurrent.adjoint(dv),)


def rnn_tanh_step(u: Array, recurrent: Recurrent, previous: Arrays) -> tuple[Arrays, Arrays]:
    """One step of the simple recurrent network. u, v are (N, H).

    (R1)  h_t = tanh(u + v)

    Source: Elman 1990, doi:10.1207/s15516709cog1402_1.
    """
    (h_prev,) = previous
    return (np.tanh(u + recurrent(h_prev)),), ()


def rnn_tanh_step_backward(
    d_states: Arrays, recurrent: Recurrent, previous: Arrays, states: Arrays, saved: Arrays
) -> tuple[Array, Products, Arrays]:
    """Adjoint of `rnn_tanh_step`.

    (R2)  du = dv = dh * (1 - h_t^2)
    """
    (dh,), (h_prev,), (h,) = d_states, previous, states
    d_pre = dh * (1 - h**2)
    return d_pre, ((d_pre, h_prev),), (recurrent.adjoint(d_pre),)


def rnn_relu_step(u: Array, recurrent: Recurrent, previous: Arrays) -> tuple[Arrays, Arrays]:
    """One step of the simple recurrent network with rectified units. u, v are (N, H). NaN stays NaN.

    (R3)  h_t = max(u + v, 0)

    Source: Le, Jaitly & Hinton 2015, arXiv:1504.00941.
    """
    (h_prev,) = previous
    return (np.maximum(u + recurrent(h_prev), 0.0),), ()


def rnn_relu_step_backward(
    d_states: Arrays, recurrent: Recurrent, previous: Arrays, states: Arrays, saved: Arrays
) -> tuple[Array, Products, Arrays]:
    """Adjoint of `rnn_relu_step`; the derivative at zero is zero.

    (R4)  du = dv = dh where h_t > 0, else 0
    """
    (dh,), (h_prev,), (h,) = d_states, previous, states
    d_pre = np.where(h > 0, dh, 0.0)
    return d_pre, ((d_pre, h_prev),), (recurrent.adjoint(d_pre),)


Step: TypeAlias = Callable[[Array, Recurrent, Arrays], tuple[Arrays, Arrays]]
StepBackward: TypeAlias = Callable[[Arrays, Recurrent, Arrays, Arrays, Arrays], tuple[Array, Products, Arrays]]

STEPS: dict[str, tuple[Step, StepBackward]] = {
    "lstm": (lstm_step, lstm_step_backward),
    "gru": (gru_step, gru_step_backward),
    "gru_reset_before": (gru_reset_before_step, gru_reset_before_step_backward),
    "rnn_tanh": (rnn_tanh_step, rnn_tanh_step_backward),
    "rnn_relu": (rnn_relu_step, rnn_relu_step_backward),
}
