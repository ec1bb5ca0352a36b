"""`numrnn.fit` follows PyTorch's own training: same weights, same batches, the same path."""

import numpy as np
import pytest

import numrnn

pytestmark = pytest.mark.torch

STEPS, ROWS, FEATURES, HIDDEN, BATCH = 9, 40, 3, 17, 16


class Recorder(numrnn.callbacks.Callback):
    """Weights after each step of the optimiser."""

    def __init__(self):
        self.path = []

    def on_batch_end(self, run):
        self.path.append(run.model.state_dict())


def batches(seed, epochs):
    """Rows of each batch, found out by training on their numbers."""
    seen = []
    model = numrnn.SequenceModel(numrnn.RNN(1, 1), numrnn.Linear(1, 1))

    def loss(prediction, target, weight=None):
        seen.append(target[:, 0].astype(int).copy())
        return 0.0, np.zeros_like(prediction)

    numbers = np.arange(float(ROWS))[:, None]
    optimizer = numrnn.optim.Adam(model, lr=0.0)
    options = {"batch_size": BATCH, "epochs": epochs, "seed": seed, "progress": False}
    numrnn.fit(model, np.zeros((1, ROWS, 1)), numbers, loss=loss, optimizer=optimizer, **options)
    return seen


@pytest.mark.parametrize("readout_on", ["last", "every"])
@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_fifty_steps_of_adam(cell, readout_on, rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((STEPS, ROWS, FEATURES))
    y = np.cumsum(x[..., :2], axis=0)
    y = y if readout_on == "every" else y[-1]
    layer = getattr(numrnn, cell)(FEATURES, HIDDEN, num_layers=2, bidirectional=True, dtype="float64", seed=1)
    model = numrnn.SequenceModel(layer, numrnn.Linear(2 * HIDDEN, 2, dtype="float64", seed=2), readout_on=readout_on)
    their_layer = getattr(torch.nn, cell)(FEATURES, HIDDEN, num_layers=2, bidirectional=True, dtype=torch.float64)
    their_head = torch.nn.Linear(2 * HIDDEN, 2, dtype=torch.float64)
    for ours, theirs in ((layer, their_layer), (model.readout, their_head)):
        theirs.load_state_dict({name: torch.from_numpy(value) for name, value in ours.state_dict().items()})
    theirs = [*their_layer.parameters(), *their_head.parameters()]
    adam = torch.optim.Adam(theirs, lr=0.01)
    recorder = Recorder()
    epochs = 17  # of three batches
    optimizer = numrnn.optim.Adam(model, lr=0.01)
    options = {"batch_size": BATCH, "epochs": epochs, "seed": 3, "progress": False, "callbacks": [recorder]}
    numrnn.fit(model, x, y, loss=numrnn.losses.mse, optimizer=optimizer, **options)
    path = batches(3, epochs)
    assert len(path) == len(recorder.path) == 51
    for rows, ours in zip(path, recorder.path, strict=True):
        output, state = their_layer(torch.from_numpy(x[:, rows]))
        if readout_on == "last":
            h_n = state[0] if cell == "LSTM" else state
            output = torch.cat([h_n[-2], h_n[-1]], dim=-1)
        target = torch.from_numpy(y[:, rows] if readout_on == "every" else y[rows])
        loss = torch.nn.functional.mse_loss(their_head(output), target)
        adam.zero_grad()
        loss.backward()
        adam.step()
        for value, their_value in zip(ours.values(), theirs, strict=True):
            np.testing.assert_allclose(value, their_value.detach().numpy(), atol=1e-6, rtol=0)
    moved = max(float(np.abs(value - recorder.path[0][name]).max()) for name, value in recorder.path[-1].items())
    assert moved > 0.05
