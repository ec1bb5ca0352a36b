"""A chain of Keras's layers as one of our layers or models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from numrnn._errors import explain
from numrnn.interop.assembly import dense_layer, recurrent_layer, stacked
from numrnn.interop.keras_config import Settings
from numrnn.interop.keras_errors import shown
from numrnn.interop.keras_layers import RECURRENT, DenseLayer, RecurrentLayer, Weights, read_dense, read_recurrent
from numrnn.nn.layers import GRU, LSTM, RNN
from numrnn.nn.model import SequenceModel
from numrnn.nn.reversed import Reversed

__all__ = ["build"]


_OF_TRAINING = {
    "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout1D",
}  # fmt: skip
"""Layers that pass on what they read, but while a model is trained."""

_POOLS = {"GlobalAveragePooling1D": "mean", "GlobalMaxPooling1D": "max"}

_REASONS = {
    "Embedding": "Load the model without it, and pass it vectors.",
    "Functional": "A model inside a model cannot be loaded: make one of their layers.",
    "Lambda": "It is code, and nothing of a file is executed.",
    "Masking": "numrnn has no masks: load the model without it, and pass `lengths` to what is loaded.",
    "RNN": "Of cells in an RNN only the layers SimpleRNN, LSTM and GRU can be loaded.",
    "Sequential": "A model inside a model cannot be loaded: make one of their layers.",
}

_ORDER = "In this order: Input, SimpleRNN, LSTM, GRU or Bidirectional of one, pooling over time, Dense."

_PROBABILITIES = {"softmax": "numrnn.losses.softmax", "sigmoid": "scipy.special.expit"}


@dataclass
class _Chain:
    """What was read so far, from the input upwards."""

    head: str
    features: int | None = None
    layers: list[tuple[Settings, RecurrentLayer]] = field(default_factory=list)
    pool: str | None = None
    dense: DenseLayer | None = None
    activation: str = "linear"
    notices: list[str] = field(default_factory=list)


def build(
    head: str, layers: Sequence[Settings], weights: Weights
) -> tuple[RNN | LSTM | GRU | Reversed | SequenceModel, list[str]]:
    """Return the layer or model that predicts what these layers predict, and what its user should know.

    Parameters
    ----------
    head : str
        How errors begin.
    layers : sequence of Settings
        In the order they run.
    weights : Weights
        Where their arrays are.
    """
    chain = _Chain(head)
    for layer in layers:
        _append(chain, layer, weights)
    if not chain.layers:
        advice = f"One of {', '.join(RECURRENT[:-1])} is expected, or a Bidirectional of one."
        raise ValueError(explain(head, "the model has no recurrent layer.", advice))
    return _assemble(chain), chain.notices


def _append(chain: _Chain, layer: Settings, weights: Weights) -> None:
    """Read one more layer of the chain, or refuse it by name."""
    if layer.kind in _OF_TRAINING:
        return
    if layer.kind == "InputLayer":
        _read_input(chain, layer)
    elif chain.activation != "linear":
        layer.refuse(f"it stands behind the {chain.activation} of the head.")
    elif layer.kind == "Activation":
        _read_activation(
            chain, layer, layer.activation("activation", "linear", *(_PROBABILITIES if chain.dense else ()))
        )
        layer.finish()
    elif chain.dense is not None:
        layer.refuse(
            f"it reads the dense layer {shown(chain.dense.name)}, and a numrnn model ends with one dense layer.",
            "Load the model without what follows the recurrent layers, and apply the rest to its predictions.",
        )
    elif layer.kind in _POOLS and chain.layers:
        _read_pool(chain, layer)
    elif layer.kind in ("Dense", "TimeDistributed") and chain.layers:
        _read_head(chain, layer, weights)
    elif layer.kind in RECURRENT and chain.pool is None:
        _read_recurrent(chain, layer, weights)
    else:
        layer.refuse("it cannot be loaded in this place.", _REASONS.get(layer.kind, _ORDER))


def _read_input(chain: _Chain, layer: Settings) -> None:
    shape = layer.take("batch_shape", layer.take("batch_input_shape"))
    if not isinstance(shape, list | tuple) or len(shape) != 3:
        layer.refuse(f"its shape is {shown(shape)}, expected (batch, time, features).")
    if layer.flag("sparse", False) or layer.flag("ragged", False):
        layer.refuse("its input is sparse or ragged.")
    if chain.layers:
        layer.refuse("it is not the first layer.")
    layer.finish()
    chain.features = shape[-1]


def _read_recurrent(chain: _Chain, layer: Settings, weights: Weights) -> None:
    read = read_recurrent(layer, weights)
    if chain.layers and not chain.layers[-1][1].every:
        below = chain.layers[-1][1]
        layer.refuse(f"it reads {shown(below.name)}, which gives its last step alone.")
    if chain.features not in (None, read.input_size):
        layer.refuse(f"its kernel reads {read.input_size} features, and {shown(chain.features)} come from below.")
    chain.features = read.form.hidden_size * (1 + read.form.bidirectional)
    chain.layers.append((layer, read))
    if read.stateful:
        chain.notices.append(
            f"layer {shown(layer.name)} is stateful in Keras: numrnn begins every call from zero, "
            "unless it is given the state of the result before"
        )


def _read_pool(chain: _Chain, layer: Settings) -> None:
    if not chain.layers[-1][1].every or chain.pool:
        layer.refuse("it does not read every step of a recurrent layer.")
    if layer.take("data_format", "channels_last") != "channels_last":
        layer.refuse("it pools over features.", "Only data_format='channels_last' can be loaded.")
    if layer.flag("keepdims", False):
        layer.refuse("`keepdims` is true.")
    layer.finish()
    chain.pool = _POOLS[layer.kind]


def _read_head(chain: _Chain, layer: Settings, weights: Weights) -> None:
    dense = read_dense(layer, weights)
    if dense.weight.shape[1] != chain.features:
        layer.refuse(f"its kernel reads {dense.weight.shape[1]} features, and {shown(chain.features)} come from below.")
    if layer.kind == "TimeDistributed" and (chain.pool or not chain.layers[-1][1].every):
        layer.refuse("it does not read every step of a recurrent layer.")
    chain.dense = dense
    _read_activation(chain, layer, dense.activation)


def _read_activation(chain: _Chain, layer: Settings, activation: str) -> None:
    chain.activation = activation
    if activation != "linear":
        chain.notices.append(
            f"the {activation} of layer {shown(layer.name)} is left out: predictions are its logits, "
            f"of which {_PROBABILITIES[activation]} makes probabilities"
        )


def _assemble(chain: _Chain) -> RNN | LSTM | GRU | Reversed | SequenceModel:
    """One layer where one suffices, else a model."""
    arrays = [array for _, layer in chain.layers for each in layer.weights for array in each.values()]
    if chain.dense is not None:
        arrays.append(chain.dense.weight)
    dtype = np.result_type(np.float32, *(array.dtype for array in arrays))
    stacks = [
        list(run)
        for _, run in groupby(chain.layers, key=lambda pair: (pair[1].form, pair[1].backwards and id(pair[0])))
    ]
    layers = [_stack([layer for _, layer in stack], dtype) for stack in stacks]
    top = chain.layers[-1][1]
    if len(layers) == 1 and chain.dense is None and chain.pool is None:
        return layers[0]
    readout = None
    if chain.dense is not None:
        readout = dense_layer(chain.dense.weight, chain.dense.bias, dtype)
    readout_on = chain.pool or ("every" if top.every else "last")
    return SequenceModel(layers if len(layers) > 1 else layers[0], readout, readout_on=readout_on)


def _stack(layers: Sequence[RecurrentLayer], dtype: np.dtype[Any]) -> RNN | LSTM | GRU | Reversed:
    """Layers of one form as one of ours; one that goes backwards stands alone."""
    first = layers[0]
    form = first.form
    made = recurrent_layer(
        form.cell,
        stacked([layer.weights for layer in layers]),
        input_size=first.input_size,
        hidden_size=form.hidden_size,
        num_layers=len(layers),
        bias=form.bias,
        batch_first=True,
        bidirectional=form.bidirectional,
        dtype=dtype,
    )
    return Reversed(made, keep_order=False) if first.backwards else made
