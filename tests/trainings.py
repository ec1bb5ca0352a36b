"""What the tests of `numrnn.fit` share."""

import numpy as np

import numrnn
from numrnn import losses, optim


def make_model(cell="GRU", readout_on="last", features=2, hidden=7, dtype="float32", **options):
    layer = getattr(numrnn, cell)(features, hidden, dtype=dtype, seed=1, **options)
    directions = 2 if options.get("bidirectional") else 1
    readout = numrnn.Linear(directions * hidden, 1, dtype=dtype, seed=2)
    return numrnn.SequenceModel(layer, readout, readout_on=readout_on)


def make_data(rng, readout_on="last", steps=11, rows=23, features=2):
    x = rng.standard_normal((steps, rows, features))
    target = np.cumsum(x[:, :, :1], axis=0) / 3
    return x, target if readout_on == "every" else target[-1]


def train(model, x, y, *, lr=0.02, **options):
    options = {"loss": losses.mse, "epochs": 3, "batch_size": 8, "seed": 5, "progress": False, **options}
    options.setdefault("optimizer", optim.Adam(model, lr=lr))
    return numrnn.fit(model, x, y, **options)


def assert_same_weights(left, right):
    assert left.parameters.keys() == right.parameters.keys()
    for name, value in left.parameters.items():
        np.testing.assert_array_equal(value, right.parameters[name], name)
