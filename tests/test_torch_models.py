"""SequenceModel beside PyTorch: readouts over valid steps, learned initial states, roll-outs; values and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numrnn

pytestmark = pytest.mark.torch

Rng = np.random.Generator
LENGTHS = [4, 7, 1, 5]


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def twin(torch: Any, part: Any) -> Any:
    """PyTorch's module with the part's weights."""
    if isinstance(part, numrnn.Linear):
        module = torch.nn.Linear(part.in_features, part.out_features, dtype=torch.float64)
    else:
        options = {"nonlinearity": part.nonlinearity} if isinstance(part, numrnn.RNN) else {}
        options |= {"proj_size": part.proj_size} if isinstance(part, numrnn.LSTM) else {}
        module = getattr(torch.nn, type(part).__name__)(
            part.input_size,
            part.hidden_size,
            part.num_layers,
            bidirectional=part.bidirectional,
            batch_first=part.batch_first,
            dtype=torch.float64,
            **options,
        )
    module.load_state_dict({name: torch.tensor(np.array(value)) for name, value in part.parameters.items()})
    return module


def close(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=0, atol=1e-9)


LAYERS = {
    "rnn relu": lambda **k: numrnn.RNN(3, 6, nonlinearity="relu", **k),
    "lstm both ways": lambda **k: numrnn.LSTM(3, 6, num_layers=2, proj_size=4, bidirectional=True, **k),
    "gru": lambda **k: numrnn.GRU(3, 6, num_layers=2, **k),
}


@pytest.mark.parametrize("readout_on", ["last", "mean", "max"])
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_readouts_over_valid_steps(torch: Any, rng: Rng, readout_on: str, layers: str, batch_first: bool) -> None:
    """Of relu's zeros many steps attain the maximum: the gradient is the first one's, as PyTorch's is."""
    layer = LAYERS[layers](dtype="float64", seed=1, batch_first=batch_first)
    width = layer.signature.output_size * layer.signature.num_directions
    head = numrnn.Linear(width, 2, dtype="float64", seed=2)
    model = numrnn.SequenceModel(layer, head, readout_on=readout_on)
    rows = [rng.standard_normal((length, 3)) for length in LENGTHS]
    x, weight = numrnn.pad_sequence(rows, batch_first, np.nan), rng.standard_normal((4, 2))
    prediction, pullback = model.vjp(x, lengths=LENGTHS)
    gradients = pullback(weight)

    ours, theirs = twin(torch, layer), twin(torch, head)
    given = [torch.tensor(row, requires_grad=True) for row in rows]
    read = []
    for row in given:
        output, state = ours(row)
        h_n = state[0] if isinstance(state, tuple) else state
        if readout_on == "last":
            read.append(torch.cat(list(h_n[-2:])) if layer.bidirectional else h_n[-1])
        else:
            read.append(output.mean(0) if readout_on == "mean" else output.max(0)[0])
    expected = theirs(torch.stack(read))
    (expected * torch.tensor(weight)).sum().backward()

    close(prediction, expected)
    for n, row in enumerate(given):
        close((gradients.x[n] if batch_first else gradients.x[:, n])[: LENGTHS[n]], row.grad)
    for prefix, module in (("recurrent.", ours), ("readout.", theirs)):
        for name, tensor in module.named_parameters():
            close(gradients.parameters[prefix + name], tensor.grad)


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("readout_on", ["last", "every"])
def test_learned_initial_states(torch: Any, rng: Rng, layers: str, readout_on: str) -> None:
    layer = LAYERS[layers](dtype="float64", seed=1)
    width = layer.signature.output_size * layer.signature.num_directions
    head = numrnn.Linear(width, 2, dtype="float64", seed=2)
    model = numrnn.SequenceModel(layer, head, readout_on=readout_on, learn_initial_state=True)
    names = [name for name in model.parameters if name.startswith("initial_state")]
    model.set_parameters({name: rng.standard_normal(model.parameters[name].shape) for name in names})
    x = rng.standard_normal((6, 5, 3))
    prediction, pullback = model.vjp(x)
    weight = rng.standard_normal(prediction.shape)
    gradients = pullback(weight)

    ours, theirs = twin(torch, layer), twin(torch, head)
    starts = [torch.tensor(np.array(model.parameters[name]), requires_grad=True) for name in names]
    state = [start.expand(-1, 5, -1).contiguous() for start in starts]
    output, final = ours(torch.tensor(x), tuple(state) if len(state) == 2 else state[0])
    h_n = final[0] if isinstance(final, tuple) else final
    last = torch.cat(list(h_n[-2:]), dim=-1) if layer.bidirectional else h_n[-1]
    expected = theirs(last if readout_on == "last" else output)
    (expected * torch.tensor(weight)).sum().backward()

    close(prediction, expected)
    for name, start in zip(names, starts, strict=True):
        close(gradients.parameters[name], start.grad)
    for name, tensor in ours.named_parameters():
        close(gradients.parameters["recurrent." + name], tensor.grad)


@pytest.mark.parametrize("layers", ["rnn relu", "gru", "lstm"])
def test_rollouts(torch: Any, rng: Rng, layers: str) -> None:
    makers = LAYERS | {"lstm": lambda **k: numrnn.LSTM(3, 6, num_layers=2, proj_size=4, **k)}
    layer = makers[layers](dtype="float64", seed=1)
    head = numrnn.Linear(layer.signature.output_size, 2, dtype="float64", seed=2)
    model = numrnn.SequenceModel(layer, head)
    x, known = rng.standard_normal((6, 5, 3)), rng.standard_normal((12, 5, 1))
    ours, theirs = twin(torch, layer), twin(torch, head)
    expected = []
    output, state = ours(torch.tensor(x))
    for s in range(12):
        expected.append(theirs(output[-1]))
        fed = torch.cat([expected[-1], torch.tensor(known[s])], dim=-1)
        output, state = ours(fed[None], state)
    close(model.rollout(x, 12, known=known), torch.stack(expected))
