"""Makes the `.keras` files beside it, with inputs and Keras's predictions: `KERAS_BACKEND=jax python make.py`.

Made once, with Keras 3.15.1 and JAX. Files are packed more tightly than Keras packs them, all but one.
"""

import zipfile
from pathlib import Path

import numpy as np


def models(keras):
    """Each model's name and layers."""
    layers, Input = keras.layers, keras.Input
    yield (
        "rnn_relu_two_layers",
        keras.Sequential(
            [
                Input((None, 3)),
                layers.SimpleRNN(4, activation="relu", return_sequences=True, recurrent_dropout=0.1),
                layers.Dropout(0.2),
                layers.SimpleRNN(4, activation="relu"),
                layers.Dense(2),
            ]
        ),
    )
    yield (
        "lstm_both_ways_then_gru",
        keras.Sequential(
            [
                Input((None, 3)),
                layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
                layers.GRU(3),
                layers.Dense(2, activation="softmax", use_bias=False),
            ]
        ),
    )
    yield (
        "gru_backwards",
        keras.Sequential([Input((5, 3)), layers.GRU(4, go_backwards=True, return_sequences=True)]),
    )
    yield "gru_reset_before", keras.Sequential([Input((None, 3)), layers.GRU(4, reset_after=False)])
    x = Input((None, 3), dtype="float64")
    h, *_ = layers.LSTM(4, return_sequences=True, return_state=True, dtype="float64", name="memory")(x)
    y = layers.TimeDistributed(layers.Dense(1, dtype="float64"), name="head", dtype="float64")(h)
    yield "lstm_graph_float64", keras.Model(x, y)
    x = Input((None, 3))
    h = layers.Bidirectional(layers.GRU(3, return_sequences=True))(x)
    y = layers.Dense(2)(layers.GlobalMaxPooling1D()(h))
    yield "gru_pooled", keras.Model(x, y)


def main():
    """Write all files."""
    import keras

    folder, rng, arrays = Path(__file__).parent, np.random.default_rng(0), {}
    for name, model in models(keras):
        for layer in model.layers:
            layer.set_weights([rng.uniform(-1, 1, weight.shape) for weight in layer.get_weights()])
        path = folder / f"{name}.keras"
        model.save(path)
        if name != "gru_reset_before":
            with zipfile.ZipFile(path) as archive:
                members = {each: archive.read(each) for each in archive.namelist()}
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for each, data in members.items():
                    archive.writestr(each, data)
        x = rng.standard_normal((2, 5, 3)).astype(model.inputs[0].dtype)
        if name == "lstm_both_ways_then_gru":
            model.layers[-1].activation = keras.activations.linear
        arrays[f"{name}.x"] = x
        arrays[f"{name}.y"] = np.asarray(model(x))
    np.savez_compressed(folder / "predictions.npz", **arrays)


if __name__ == "__main__":
    main()
