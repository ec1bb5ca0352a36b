"""The three recurrent layers: their constructors."""

from __future__ import annotations

from typing import final

from numpy.typing import DTypeLike

from numrnn._errors import explain
from numrnn.nn.arguments import choice, count, flag, forget_gate_bias
from numrnn.nn.recurrent import Recurrent

__all__ = ["GRU", "LSTM", "RNN"]


@final
class RNN(Recurrent):
    """A stack of plain recurrent layers (Elman 1990): h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh).

    Parameters
    ----------
    input_size, hidden_size : int
        Features of x and of the state.
    num_layers : int
        Layers in the stack; each reads the outputs of the one below.
    nonlinearity : {"tanh", "relu"}
    bias : bool
        Whether `bias_ih` and `bias_hh` exist.
    batch_first : bool
        x and output are (batch, time, features) instead of (time, batch, features). States are never batch-first.
    dropout : float
        Probability with which a number that one layer hands to the next becomes 0, in `vjp` alone; the others are
        scaled by 1 / (1 - dropout). A single layer has nothing to drop, and says so.
    bidirectional : bool
        Whether a second set of weights reads each sequence from its end; `output` has both halves side by side.
    dtype : {"float32", "float64"}
        Of weights, computation and results.
    seed : int, optional
        Of the initial weights; None takes one from the operating system.
    init : {"pytorch", "keras"}
        "pytorch": U(-1/sqrt(H), 1/sqrt(H)). "keras": Glorot input, orthogonal recurrent, zero bias.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind or value.
    NotImplementedError
        A feature that this version does not have.
    MemoryError
        Weights that this machine cannot hold.

    Notes
    -----
    Equations: `numrnn/reference.py`. Parameter names, shapes and order are PyTorch's.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> output, h_n = numrnn.RNN(4, 8, nonlinearity="relu")(np.zeros((10, 3, 4)))
    >>> output.shape, h_n.shape
    ((10, 3, 8), (1, 3, 8))
    """

    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
        init: str = "pytorch",
    ) -> None:
        nonlinearity = choice("RNN", "nonlinearity", nonlinearity, ("tanh", "relu"))
        self._build(
            f"rnn_{nonlinearity}",
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
            nonlinearity=nonlinearity,
        )


@final
class LSTM(Recurrent):
    """A stack of long short-term memory layers (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    i, f, o = sigmoid(...), g = tanh(...), c_t = f * c_{t-1} + i * g, h_t = o * tanh(c_t), each gate of
    W_ih x_t + b_ih + W_hh h_{t-1} + b_hh; rows of the weights in the order i, f, g, o.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of x and of each state.
    num_layers : int
        Layers in the stack; each reads the outputs of the one below.
    bias : bool
        Whether `bias_ih` and `bias_hh` exist.
    batch_first : bool
        x and output are (batch, time, features) instead of (time, batch, features). States are never batch-first.
    dropout : float
        Probability with which a number that one layer hands to the next becomes 0, in `vjp` alone; the others are
        scaled by 1 / (1 - dropout). A single layer has nothing to drop, and says so.
    bidirectional : bool
        Whether a second set of weights reads each sequence from its end; `output` has both halves side by side.
    proj_size : int
        Size of the hidden state h_t = W_hr (o * tanh(c_t)), less than hidden_size; 0 leaves it as it is.
    dtype : {"float32", "float64"}
        Of weights, computation and results.
    seed : int, optional
        Of the initial weights; None takes one from the operating system.
    init : {"pytorch", "keras"}
        "pytorch": U(-1/sqrt(H), 1/sqrt(H)). "keras": Glorot input, orthogonal recurrent, zero bias, forget bias 1.
    forget_bias : float, optional
        Initial bias of the forget gates: `bias_ih` holds it and `bias_hh` holds 0. None leaves it to `init`.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind or value.
    NotImplementedError
        A feature that this version does not have.
    MemoryError
        Weights that this machine cannot hold.

    Notes
    -----
    Equations: `numrnn/reference.py`. Parameter names, shapes and order are PyTorch's.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> lstm = numrnn.LSTM(4, 8, num_layers=2)
    >>> output, (h_n, c_n) = lstm(np.zeros((10, 3, 4)))
    >>> output.shape, h_n.shape, c_n.shape
    ((10, 3, 8), (2, 3, 8), (2, 3, 8))
    """

    proj_size: int
    forget_bias: float | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
        init: str = "pytorch",
        forget_bias: float | None = None,
    ) -> None:
        hidden = count("LSTM", "hidden_size", hidden_size)
        proj_size = count("LSTM", "proj_size", proj_size, least=0)
        if proj_size >= hidden:
            problem = f"`proj_size` should be less than hidden_size={hidden}, got {proj_size}."
            raise ValueError(explain("LSTM", problem, "0 is none."))
        forget_bias = forget_gate_bias("LSTM", forget_bias, bias)
        self._build(
            "lstm",
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
            forget_bias=forget_bias,
            proj_size=proj_size,
        )


@final
class GRU(Recurrent):
    """A stack of gated recurrent units (Cho et al. 2014).

    r, z = sigmoid(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), n = tanh(W_in x_t + b_in + r * (W_hn h_{t-1} + b_hn)),
    h_t = (1 - z) * n + z * h_{t-1}; rows of the weights in the order r, z, n.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of x and of the state.
    num_layers : int
        Layers in the stack; each reads the outputs of the one below.
    bias : bool
        Whether `bias_ih` and `bias_hh` exist.
    batch_first : bool
        x and output are (batch, time, features) instead of (time, batch, features). States are never batch-first.
    dropout : float
        Probability with which a number that one layer hands to the next becomes 0, in `vjp` alone; the others are
        scaled by 1 / (1 - dropout). A single layer has nothing to drop, and says so.
    bidirectional : bool
        Whether a second set of weights reads each sequence from its end; `output` has both halves side by side.
    reset_after : bool
        Whether the reset gate acts on the recurrent product, as in PyTorch and cuDNN. False is the original form, which
        resets the state before the product: n = tanh(W_in x_t + b_in + W_hn (r * h_{t-1}) + b_hn).
    dtype : {"float32", "float64"}
        Of weights, computation and results.
    seed : int, optional
        Of the initial weights; None takes one from the operating system.
    init : {"pytorch", "keras"}
        "pytorch": U(-1/sqrt(H), 1/sqrt(H)). "keras": Glorot input, orthogonal recurrent, zero bias.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind or value.
    NotImplementedError
        A feature that this version does not have.
    MemoryError
        Weights that this machine cannot hold.

    Notes
    -----
    Equations: `numrnn/reference.py`. Parameter names, shapes and order are PyTorch's.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> output, h_n = numrnn.GRU(4, 8, batch_first=True)(np.zeros((3, 10, 4)))
    >>> output.shape, h_n.shape
    ((3, 10, 8), (1, 3, 8))
    """

    reset_after: bool

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
        reset_after: bool = True,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
        init: str = "pytorch",
    ) -> None:
        reset_after = flag("GRU", "reset_after", reset_after)
        self._build(
            "gru" if reset_after else "gru_reset_before",
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
            reset_after=reset_after,
        )
