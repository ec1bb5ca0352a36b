"""What is read of a live Keras model, and refused, without Keras."""

from __future__ import annotations

from typing import Any

import pytest

from numrnn.interop.keras_import import from_keras


class Live:
    """What of a live model is read."""

    def __init__(self, layers: list[Any], config: Any) -> None:
        self.layers = layers
        self._config = config

    def get_config(self) -> Any:
        return self._config


def test_a_live_model_without_a_list_of_layers_is_refused():
    with pytest.raises(ValueError, match="`model` is a Live, whose configuration lists no layers"):
        from_keras(Live([], {}))


def test_a_live_model_that_is_not_built_is_refused():
    class Layer:
        name = "rnn"

        def get_weights(self):
            return []

    config = {"name": "rnn", "units": 4, "activation": "tanh"}
    entries = [{"module": "keras.layers", "class_name": "SimpleRNN", "config": config}]
    with pytest.raises(ValueError, match=r"layer 'rnn' \(SimpleRNN\): it has 0 arrays of weights, expected 3"):
        from_keras(Live([Layer()], {"layers": entries}))
    with pytest.raises(ValueError, match="the model has no layer of this name"):
        from_keras(Live([], {"layers": entries}))
