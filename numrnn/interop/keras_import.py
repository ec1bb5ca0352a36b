"""Models of Keras, from a `.keras` file or from a live one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numrnn._errors import explain, kind_of
from numrnn.interop.keras_archive import read_archive
from numrnn.interop.keras_config import read_chain
from numrnn.interop.keras_errors import shown
from numrnn.interop.keras_model import build
from numrnn.interop.keras_sources import FileWeights, LiveWeights
from numrnn.interop.keras_weights import h5py_for, read_weights
from numrnn.nn.layers import GRU, LSTM, RNN
from numrnn.nn.model import SequenceModel
from numrnn.nn.reversed import Reversed

__all__ = ["from_keras"]


def from_keras(model: Any) -> RNN | LSTM | GRU | Reversed | SequenceModel:
    """Load a recurrent model of Keras: the layers, their weights and the dense head.

    Parameters
    ----------
    model : path or Keras model
        A `.keras` file, which is read as data: nothing of it is executed or imported, and Keras is not needed. Or a
        built model, Sequential or Functional.

    Returns
    -------
    RNN, LSTM, GRU, Reversed or SequenceModel
        A layer where one suffices: recurrent layers of one kind and width are one stack. A `SequenceModel` if a dense
        layer or a pooling over time follows, or widths differ. All are batch_first, in the model's dtype.

    Raises
    ------
    ValueError
        A file that is damaged or no `.keras` file; a layer, or an option of one, that numrnn does not have, named.
    OSError
        A file that is missing.
    TypeError
        Neither a path nor a model.
    ImportError
        A file, and h5py is not installed.

    Warns
    -----
    UserWarning
        A softmax or sigmoid behind the last dense layer: it is left out, predictions are logits. A stateful layer:
        numrnn begins every call from zero unless it is given a state.

    Notes
    -----
    Loaded are SimpleRNN (tanh, relu), LSTM, GRU (both forms of `reset_after`), Bidirectional of them (concat), pooling
    over time, and one Dense at the end. Layers that act in training alone, as Dropout, are left out. Of a layer,
    `result.output` is what Keras gives with `return_sequences` and `result.last_output` what it gives without; a
    `SequenceModel` predicts what Keras predicts. A layer with `go_backwards` becomes `Reversed(layer,
    keep_order=False)`, whose output is in Keras's order. Weights of float16 become float32.

    Keras keeps a kernel transposed, LSTM gates in the order i, f, c, o and GRU gates in the order z, r, h.

    Examples
    --------
    >>> import numrnn
    >>> lstm = numrnn.from_keras("weather.keras")  # doctest: +SKIP
    >>> lstm  # doctest: +SKIP
    LSTM(input_size=4, hidden_size=8, batch_first=True)
    """
    if isinstance(model, str | os.PathLike):
        found, notices = _from_file(Path(model))
    else:
        found, notices = _from_live(model)
    for notice in notices:
        warnings.warn(f"from_keras: {notice}.", UserWarning, stacklevel=2)
    return found


def _from_file(path: Path) -> tuple[RNN | LSTM | GRU | Reversed | SequenceModel, list[str]]:
    head = f"from_keras({str(path)!r})"
    h5py_for(head)
    config, data = read_archive(head, path)
    kind, inner, module = config.get("class_name"), config.get("config"), config.get("module")
    own = (
        isinstance(module, str)
        and module.partition(".")[0] == "keras"
        and config.get("registered_name") in (None, kind)
    )
    if kind not in ("Sequential", "Functional", "Model") or not own or not isinstance(inner, dict):
        problem = f"the model's class is {shown(kind)} of {shown(module)}, expected Sequential or Functional of Keras."
        raise ValueError(explain(head, problem, "Nothing was imported."))
    layers = read_chain(head, inner, sequential=kind == "Sequential")
    weights = FileWeights(head, read_weights(head, data))
    del data  # as large as all arrays
    found = build(head, layers, weights)
    weights.finish()
    return found


def _from_live(model: Any) -> tuple[RNN | LSTM | GRU | Reversed | SequenceModel, list[str]]:
    head = "from_keras"
    if not hasattr(model, "layers") or not hasattr(model, "get_config"):
        advice = "Of a single layer make a model: keras.Sequential([keras.Input((None, features)), layer])."
        problem = f"`model` should be the path of a .keras file or a model of Keras, got {kind_of(model)}."
        raise TypeError(explain(head, problem, advice))
    config = model.get_config()
    if not isinstance(config, Mapping) or not isinstance(config.get("layers"), list):
        problem = f"`model` is a {type(model).__name__}, whose configuration lists no layers."
        raise ValueError(explain(head, problem, "Only Sequential and Functional models can be loaded."))
    layers = read_chain(head, config, sequential="input_layers" not in config)
    return build(head, layers, LiveWeights({layer.name: layer for layer in model.layers}))
