"""Whether the parts of a model fit together."""

from __future__ import annotations

from collections.abc import Sequence

from numrnn._errors import explain, kind_of
from numrnn.nn.linear import Linear
from numrnn.nn.recurrent import Recurrent
from numrnn.nn.reversed import AnyLayer, Reversed

__all__ = ["check_parts"]


def check_parts(head: str, layers: Sequence[object], readout: object) -> None:
    """Raise unless the parts are layers that fit together."""
    if not layers:
        raise ValueError(explain(head, "`recurrent` is an empty list.", "Pass an RNN, LSTM or GRU, or a list of them."))
    names = ["recurrent"] if len(layers) == 1 else [f"recurrent[{k}]" for k in range(len(layers))]
    checked: list[AnyLayer] = []
    for name, layer in zip(names, layers, strict=True):
        if not isinstance(layer, Recurrent | Reversed):
            got = kind_of(layer)
            advice = "Pass the recurrent layer first, then the head: SequenceModel(LSTM(...), Linear(...))."
            raise TypeError(explain(head, f"`{name}` should be an RNN, LSTM, GRU or Reversed, got {got}.", advice))
        checked.append(layer)
    if readout is not None and not isinstance(readout, Linear):
        raise TypeError(explain(head, f"`readout` should be a Linear or None, got {kind_of(readout)}."))
    first = checked[0]
    for k, layer in enumerate(checked[1:], start=1):
        below = checked[k - 1]
        pair = f"{names[k - 1]} is {below!r}, {names[k]} is {layer!r}."
        if any(_weights(layer) is _weights(other) for other in checked[:k]):
            advice = "Shared weights are not supported: make a second layer."
            raise ValueError(explain(head, f"`{names[k]}` is the same object as a layer below.", advice))
        if layer.input_size != (features := _output_features(below)):
            problem = f"`{names[k]}` has input_size={layer.input_size}, expected {features}."
            raise ValueError(explain(head, problem, pair, "Each layer reads the outputs of the one before."))
        if (layer.dtype, layer.batch_first) != (first.dtype, first.batch_first):
            raise ValueError(explain(head, "the layers differ in `dtype` or `batch_first`.", pair, "Make them alike."))
    if isinstance(readout, Linear):
        top = checked[-1]
        pair = f"The top layer is {top!r}, the head {readout!r}."
        if readout.in_features != (features := _output_features(top)):
            which = top.signature.output_features.replace("hidden_size", "the hidden size")
            problem = f"`readout` has in_features={readout.in_features}, expected {features}, {which}."
            raise ValueError(explain(head, problem, pair))
        if readout.dtype != top.dtype:
            problem = f"`readout` has dtype {readout.dtype}, the layers {top.dtype}."
            raise ValueError(explain(head, problem, pair, "Make them alike."))


def _weights(layer: AnyLayer) -> Recurrent:
    """The object that holds a layer's weights."""
    return layer.layer if isinstance(layer, Reversed) else layer


def _output_features(layer: AnyLayer) -> int:
    """Features of a layer's output."""
    return layer.signature.num_directions * layer.signature.output_size
