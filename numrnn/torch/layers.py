"""`torch.nn.RNN`, `LSTM` and `GRU` with the kernels of numrnn."""

from __future__ import annotations

from typing import Any

import torch
from torch.jit import is_tracing
from torch.nn.utils.rnn import PackedSequence

from numrnn import _threads
from numrnn._errors import explain, kind_of
from numrnn.engine.dropout import Dropout
from numrnn.engine.signature import Signature
from numrnn.engine.states import state_parts
from numrnn.torch import autograd
from numrnn.torch.weights import ELSEWHERE, PackedWeights, computed_in, signature_of

__all__ = ["GRU", "LSTM", "RNN"]


class _OnKernels:
    """What the three modules do otherwise than PyTorch's own, whose constructors and parameters they have."""

    _packed: PackedWeights

    def flatten_parameters(self) -> None:
        """Do nothing: weights are packed when they change."""

    @torch.compiler.disable  # its tracer would take our array code for code to be compiled
    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Run over a batch of sequences.

        Parameters
        ----------
        input : tensor (T, N, input_size), (N, T, input_size) if batch_first, (T, input_size), or PackedSequence
            On the CPU, with the weights' dtype.
        hx : tensor h_0, for LSTM a pair (h_0, c_0), optional
            (L*D, N, H_out) and (L*D, N, H), never batch-first; without N for one sequence; a batch axis of 1 stands for
            every row.

        Returns
        -------
        output : tensor (T, N, D*H_out), in the form of `input`
        hx : tensor h_n, for LSTM a pair (h_n, c_n)

        Raises
        ------
        ValueError
            A wrong shape or dtype.
        TypeError
            Something that is no tensor.
        NotImplementedError
            A tensor that is not on the CPU; forward-mode differentiation; a transform of torch.func. Later, from
            PyTorch: the gradient of a gradient.
        """
        if is_tracing():  # a trace would keep our result as a constant
            traced: tuple[Any, Any] = super().forward(input, hx)  # type: ignore[misc]
            return traced
        module: Any = self
        weights = [getattr(module, name) for name in module._flat_weights_names]
        signature = signature_of(module, weights)
        order = None
        x = input
        if isinstance(input, PackedSequence):
            x, order = input.data, tuple(input)[1:]
        dtype = weights[0].dtype
        parts = () if hx is None else state_parts(signature, hx)
        x = _read(signature, dtype, x, "input")
        states = tuple([_read(signature, dtype, part, f"{name}_0") for part, name in zip(parts, "hc", strict=False)])
        dropout = None
        if module.training and module.dropout and module.num_layers > 1:
            dropout = Dropout(module.dropout, int(torch.empty((), dtype=torch.int64, device="cpu").random_()))
        n_threads = min(_threads.get_num_threads(), torch.get_num_threads())
        request = autograd.Request(signature, self._packed, order, dropout, n_threads)
        output, *last = autograd.run(request, x, states, weights)
        if order is not None:
            output = PackedSequence(output, *order)
        return output, tuple(last) if len(last) == 2 else last[0]


class RNN(_OnKernels, torch.nn.RNN):
    """`torch.nn.RNN` on the kernels: constructor, parameters, initial values and results are PyTorch's.

    Parameters
    ----------
    input_size, hidden_size, num_layers, nonlinearity, bias, batch_first, dropout, bidirectional
        As in PyTorch.
    device : torch.device or str, optional
        The CPU, or "meta".
    dtype : torch.dtype, optional
        torch.float32 or torch.float64; None is PyTorch's default.

    Raises
    ------
    TypeError, ValueError
        As in PyTorch; also a dtype that kernels do not compute in.
    NotImplementedError
        A device that is not the CPU.

    Notes
    -----
    An instance of `torch.nn.RNN`; see `numrnn.torch.GRU`.

    Examples
    --------
    >>> import torch
    >>> import numrnn.torch
    >>> rnn = numrnn.torch.RNN(4, 8, nonlinearity="relu")
    >>> rnn.load_state_dict(torch.nn.RNN(4, 8).state_dict())
    <All keys matched successfully>
    >>> output, h_n = rnn(torch.zeros(10, 3, 4))
    >>> output.shape, h_n.shape
    (torch.Size([10, 3, 8]), torch.Size([1, 3, 8]))
    """

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
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            nonlinearity,
            bias,
            batch_first,
            dropout,
            bidirectional,
            **_place("RNN", device, dtype),
        )
        self._packed = PackedWeights()


class LSTM(_OnKernels, torch.nn.LSTM):
    """`torch.nn.LSTM` on the kernels: constructor, parameters, initial values and results are PyTorch's.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size
        As in PyTorch.
    device : torch.device or str, optional
        The CPU, or "meta".
    dtype : torch.dtype, optional
        torch.float32 or torch.float64; None is PyTorch's default.

    Raises
    ------
    TypeError, ValueError
        As in PyTorch; also a dtype that kernels do not compute in.
    NotImplementedError
        A device that is not the CPU.

    Notes
    -----
    An instance of `torch.nn.LSTM`; see `numrnn.torch.GRU`.

    Examples
    --------
    >>> import torch
    >>> import numrnn.torch
    >>> lstm = numrnn.torch.LSTM(4, 8, num_layers=2, proj_size=3)
    >>> output, (h_n, c_n) = lstm(torch.zeros(10, 3, 4))
    >>> output.shape, h_n.shape, c_n.shape
    (torch.Size([10, 3, 3]), torch.Size([2, 3, 3]), torch.Size([2, 3, 8]))
    """

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
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            **_place("LSTM", device, dtype),
        )
        self._packed = PackedWeights()


class GRU(_OnKernels, torch.nn.GRU):
    """`torch.nn.GRU` on the kernels: constructor, parameters, initial values and results are PyTorch's.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        As in PyTorch.
    device : torch.device or str, optional
        The CPU, or "meta".
    dtype : torch.dtype, optional
        torch.float32 or torch.float64; None is PyTorch's default.

    Raises
    ------
    TypeError, ValueError
        As in PyTorch; also a dtype that kernels do not compute in.
    NotImplementedError
        A device that is not the CPU.

    Notes
    -----
    An instance of `torch.nn.GRU`, whose place it takes in a program: optimisers, `state_dict`, `PackedSequence`,
    `torch.no_grad`, copies and pickles do what they do there. Otherwise than there:

    - The constructor's errors are PyTorch's, a call's are ours. A batch axis of 1 of a state stands for every row, and
      a sequence of no steps is legal.
    - There is no second derivative and no forward mode: differentiating a gradient, a tangent and the transforms of
      torch.func raise NotImplementedError.
    - `output` is kept for backward, as PyTorch's fused kernels keep it: one who writes to it gets PyTorch's error.
    - Dropout takes its seed from PyTorch's generator, so `torch.manual_seed` repeats it; the masks are not PyTorch's.
    - `torch.compile` leaves the call as it is, as it does with PyTorch's own.
    - Threads are as many as both PyTorch and numrnn are set to use; results do not depend on them.

    Examples
    --------
    >>> import torch
    >>> import numrnn.torch
    >>> model = torch.nn.ModuleDict({"gru": numrnn.torch.GRU(4, 8), "head": torch.nn.Linear(8, 1)})
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> output, h_n = model["gru"](torch.zeros(10, 3, 4))
    >>> model["head"](h_n[-1]).square().mean().backward()
    >>> optimizer.step()
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            **_place("GRU", device, dtype),
        )
        self._packed = PackedWeights()


def _place(head: str, device: Any, dtype: Any) -> dict[str, Any]:
    """Where and in what type a constructor makes parameters; checked before PyTorch allocates them."""
    kind = torch.get_default_device().type if device is None else torch.device(device).type
    if kind not in ("cpu", "meta"):
        raise NotImplementedError(explain(head, f"`device` is {kind}: numrnn computes on the CPU.", ELSEWHERE))
    computed_in(head, "`dtype` is", torch.get_default_dtype() if dtype is None else dtype)
    return {"device": device, "dtype": dtype}


def _read(signature: Signature, dtype: Any, tensor: Any, name: str) -> Any:
    """A tensor that kernels can work with: on the CPU, of the weights' type."""
    if not isinstance(tensor, torch.Tensor):
        advice = f"Convert it: torch.as_tensor({name}, dtype={dtype})."
        raise TypeError(explain(signature.head, f"`{name}` should be a tensor, got {kind_of(tensor)}.", advice))
    if not tensor.is_cpu:
        problem = f"`{name}` is on {tensor.device}: numrnn computes on the CPU."
        raise NotImplementedError(explain(signature.head, problem, f"Pass {name}.cpu()."))
    if tensor.dtype == dtype:
        return tensor
    if tensor.is_floating_point() and torch.is_autocast_enabled("cpu"):
        return tensor.to(dtype)
    problem = f"`{name}` is {tensor.dtype}, the weights are {dtype}."
    advice = f"Convert it: {name}.to({dtype}), or the module: module.to({tensor.dtype})."
    raise ValueError(explain(signature.head, problem, advice))
