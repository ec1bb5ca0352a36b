"""The weights of a module, as kernels take them: packed when they change, and only then."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch

from numrnn._errors import explain
from numrnn._types import Shape
from numrnn.cellspec import CELLS, parameter_shapes
from numrnn.engine.panels import Panels
from numrnn.engine.signature import Signature

__all__ = ["ELSEWHERE", "PackedWeights", "computed_in", "pack", "signature_of"]

_CELLS = {"LSTM": "lstm", "GRU": "gru", "RNN_TANH": "rnn_tanh", "RNN_RELU": "rnn_relu"}
ELSEWHERE = "Call module.cpu(), or use PyTorch's own module there."
_DTYPES: dict[Any, np.dtype[Any]] = {torch.float32: np.dtype("float32"), torch.float64: np.dtype("float64")}


def signature_of(module: Any, weights: list[Any]) -> Signature:
    """What plans need to know of a module, whose attributes may have changed since the last call."""
    dtype = weights[0].dtype
    if {(weight.dtype, weight.is_cpu) for weight in weights} != {(dtype, True)}:
        _refuse_weights(_head(module.mode, module.input_size, module.hidden_size), weights)
    return _signature(
        module.mode,
        dtype,
        module.input_size,
        module.hidden_size,
        module.num_layers,
        module.bias,
        module.batch_first,
        1 + module.bidirectional,
        module.proj_size,
    )


def _refuse_weights(head: str, weights: list[Any]) -> NoReturn:
    """Raise for weights that are not alike, or not on the CPU."""
    if not all(weight.is_cpu for weight in weights):
        where = ", ".join(sorted({str(weight.device) for weight in weights}))
        raise NotImplementedError(explain(head, f"the weights are on {where}: numrnn computes on the CPU.", ELSEWHERE))
    found = ", ".join(sorted({str(weight.dtype) for weight in weights}))
    raise ValueError(explain(head, f"the weights are of several types: {found}.", "Call module.float()."))


def _head(mode: str, input_size: int, hidden_size: int) -> str:
    """How errors name a module."""
    return f"{mode.partition('_')[0]}(input_size={input_size}, hidden_size={hidden_size})"


@lru_cache(maxsize=256)
def _signature(mode: str, dtype: Any, input_size: int, hidden_size: int, *sizes: Any) -> Signature:
    head = _head(mode, input_size, hidden_size)
    array_dtype = computed_in(head, "the weights are", dtype)
    return Signature(head, _CELLS[mode], array_dtype, input_size, hidden_size, *sizes)


def computed_in(head: str, whose: str, dtype: Any) -> np.dtype[Any]:
    """The dtype of arrays that PyTorch's `dtype` stands for; refused where kernels do not compute in it."""
    if dtype not in _DTYPES:
        advice = "Call module.float(), or make the module with dtype=torch.float32."
        raise ValueError(explain(head, f"{whose} {dtype}: numrnn computes in float32 or float64.", advice))
    return _DTYPES[dtype]


class _Held(NamedTuple):
    """Packed weights and the state of the tensors that they were packed from."""

    signature: Signature
    state: tuple[tuple[int, int], ...]
    panels: Panels
    copies: list[Any] | None


class PackedWeights:
    """The packed weights of one module; a copy or a pickle of it is empty and packs its own.

    PyTorch counts the writes to a tensor, but not those through `.data` or an array of the same memory. So tensors that
    stand where they stood, with the count they had, are compared with a copy too, which is made when they are first
    found unchanged: a training, whose every step writes, makes none.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: _Held | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedWeights, ()

    def panels(self, signature: Signature, weights: list[Any]) -> Panels:
        """Pack the weights, in the order of `parameter_shapes`, unless they are packed already."""
        held, copies = self._held, None
        state = tuple([(weight.data_ptr(), _writes(weight)) for weight in weights])
        if held is not None and held.state == state and held.signature == signature:
            if held.copies is not None and all(map(torch.equal, held.copies, weights)):
                return held.panels
            copies = [weight.detach().clone() for weight in weights]
        panels = pack(signature, weights)
        self._held = _Held(signature, state, panels, copies)
        return panels


def _writes(weight: Any) -> int:
    """How often PyTorch saw the tensor being written; those made in inference mode do not count."""
    return -1 if weight.is_inference() else int(weight._version)


def pack(signature: Signature, weights: list[Any]) -> Panels:
    """Pack weights, which must have the shapes that kernels trust."""
    arrays = {}
    for (name, shape), weight in zip(_shapes(signature).items(), weights, strict=True):
        if weight.shape != shape:
            problem = f"`{name}` has shape {tuple(weight.shape)}, expected {shape}."
            raise ValueError(explain(signature.head, problem, "Make a new module for other sizes."))
        arrays[name] = weight.numpy(force=True)
    return Panels(
        CELLS[signature.cell],
        arrays,
        input_size=signature.input_size,
        hidden_size=signature.hidden_size,
        num_layers=signature.num_layers,
        dtype=signature.dtype,
        num_directions=signature.num_directions,
        proj_size=signature.proj_size,
    )


@lru_cache(maxsize=256)
def _shapes(signature: Signature) -> dict[str, Shape]:
    """The weights that a module must have."""
    return parameter_shapes(
        CELLS[signature.cell],
        signature.input_size,
        signature.hidden_size,
        signature.num_layers,
        signature.bias,
        signature.num_directions,
        signature.proj_size,
    )
