"""Layers with given weights: what every reader of files makes in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from numpy.typing import NDArray

from numrnn.nn.layers import GRU, LSTM, RNN
from numrnn.nn.linear import Linear

__all__ = ["dense_layer", "recurrent_layer", "stacked"]

_CLASSES: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "lstm": (LSTM, {}),
    "gru": (GRU, {}),
    "gru_reset_before": (GRU, {"reset_after": False}),
    "rnn_tanh": (RNN, {}),
    "rnn_relu": (RNN, {"nonlinearity": "relu"}),
}


def recurrent_layer(cell: str, weights: Mapping[str, NDArray[Any]], **options: Any) -> RNN | LSTM | GRU:
    """The layer of a cell of `cellspec` with these weights, which must be all of them; none are drawn."""
    made, own = _CLASSES[cell]
    layer: RNN | LSTM | GRU = made._blank(**options, **own)
    layer.load_state_dict(weights)
    return layer


def stacked(levels: Sequence[Sequence[Mapping[str, NDArray[Any]]]]) -> dict[str, NDArray[Any]]:
    """The weights of a stack by name, from those of each layer's directions without "_l0"."""
    return dict(
        chain.from_iterable(
            ((f"{name}_l{k}{end}", value) for name, value in direction.items())
            for k, level in enumerate(levels)
            for end, direction in zip(("", "_reverse"), level, strict=False)
        )
    )


def dense_layer(weight: NDArray[Any], bias: NDArray[Any] | None, dtype: Any) -> Linear:
    """The dense layer with these weights."""
    out_features, in_features = weight.shape
    layer = Linear._blank(in_features, out_features, bias is not None, dtype=dtype)
    layer.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return layer
