"""`from_torch` with PyTorch itself: its modules and tensors."""

import numpy as np
import pytest
from test_from_torch import equal_layers, random_layer, same

import numrnn

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning"),
]


def module_of(layer):
    """PyTorch's module with a layer's weights."""
    given = {name: getattr(layer, name) for name in ("num_layers", "bias", "batch_first", "bidirectional")}
    for name in ("nonlinearity", "proj_size"):
        if hasattr(layer, name):
            given[name] = getattr(layer, name)
    kind = getattr(torch.nn, type(layer).__name__)
    module = kind(layer.input_size, layer.hidden_size, dtype=getattr(torch, layer.dtype.name), **given)
    module.load_state_dict({name: torch.as_tensor(value) for name, value in layer.state_dict().items()})
    return module


@pytest.mark.parametrize("k", range(12))
def test_a_module_tells_everything(k, rng):
    """The module, its state_dict of tensors, and itself as a part of another."""
    layer = random_layer(rng, batch_first=bool(k % 2))
    module = module_of(layer)
    found = numrnn.from_torch(module)
    equal_layers(found, layer)
    assert repr(found) == repr(layer).split(", seed=")[0] + ")"
    equal_layers(numrnn.from_torch(module.state_dict()), layer)
    whole = torch.nn.ModuleDict({"rnn": module, "deep": torch.nn.ModuleDict({"embedding": torch.nn.Embedding(2, 3)})})
    equal_layers(numrnn.from_torch(whole, prefix="rnn"), layer)
    x = rng.standard_normal((4, 3, layer.input_size)).astype(layer.dtype)
    with torch.no_grad():
        expected = module(torch.as_tensor(x))[0].numpy()
    np.testing.assert_allclose(found(x).output, expected, rtol=0, atol=1e-5 if layer.dtype == np.float32 else 1e-12)


def test_nonlinearity_and_dropout_are_the_modules():
    layer = numrnn.from_torch(torch.nn.RNN(2, 3, num_layers=2, nonlinearity="relu", dropout=0.25))
    assert (layer.nonlinearity, layer.dropout) == ("relu", 0.25)
    assert numrnn.from_torch(torch.nn.RNN(2, 3, nonlinearity="relu"), nonlinearity="relu").nonlinearity == "relu"


def whole_of(parts):
    """A module with these parts, and a forward that nobody knows."""
    module = torch.nn.Module()
    for name, part in parts.items():
        module.add_module(name, part)
    return module


@pytest.mark.parametrize("bias", [True, False])
def test_a_module_with_one_layer_and_a_linear_is_a_model(bias, rng):
    nn = torch.nn
    parts = {"rnn": nn.LSTM(2, 3, 2, batch_first=True), "rest": nn.Sequential(nn.Dropout(), nn.Linear(3, 4, bias=bias))}
    model = numrnn.from_torch(whole_of(parts))
    x = rng.standard_normal((5, 6, 2)).astype(np.float32)
    with torch.no_grad():
        expected = parts["rest"][1](parts["rnn"](torch.as_tensor(x))[0][:, -1]).numpy()
    np.testing.assert_allclose(model(x), expected, rtol=0, atol=1e-6)
    assert model.readout.bias is bias


def test_modules_that_tell_no_model_are_refused_and_listed():
    nn = torch.nn
    gru, linear = nn.GRU(2, 3), nn.Linear(3, 1)
    refused = {
        r"Recurrent layers: `a` \(GRU\), `b` \(LSTM\).": {"a": gru, "b": nn.LSTM(2, 3)},
        r"Others: `head` \(Linear\), `act` \(ReLU\).": {"rnn": gru, "head": linear, "act": nn.ReLU()},
        r"Others: `before` \(Linear\).": {"before": nn.Linear(3, 2), "rnn": gru},
        r"Others: `head` \(Linear\).": {"rnn": gru, "head": nn.Linear(4, 1)},
        r"Others: `e` \(Embedding\).": {"rnn": gru, "e": nn.Embedding(2, 3)},
        r"Recurrent layers: none.": {"head": linear},
    }
    for text, parts in refused.items():
        with pytest.raises(ValueError, match=f"(?s)^from_torch: .*{text}"):
            numrnn.from_torch(whole_of(parts))
    own = whole_of({"rnn": gru})
    own.scale = nn.Parameter(torch.zeros(1))
    with pytest.raises(ValueError, match=r"Others: `` \(Module\)"):
        numrnn.from_torch(own)
    with pytest.raises(ValueError, match=r"(?s)no such part.*Parts: rnn."):
        numrnn.from_torch(own, prefix="lstm")
    with pytest.raises(ValueError, match="`batch_first` is True, and the module has False"):
        numrnn.from_torch(gru, batch_first=True)
    with pytest.raises(ValueError, match="`nonlinearity` is 'relu', and the module has 'tanh'"):
        numrnn.from_torch(nn.RNN(2, 3), nonlinearity="relu")


def test_tensors_of_half_precision_become_float32():
    for kind in (torch.float16, torch.bfloat16):
        module = torch.nn.GRU(2, 3).to(kind)
        for source in (module, module.state_dict()):
            with pytest.warns(UserWarning, match="become float32") as caught:
                layer = numrnn.from_torch(source)
            assert caught[0].filename == __file__
            for name, value in layer.parameters.items():
                same(value, getattr(module, name).detach().float().numpy())


def test_tensors_without_numbers_are_refused():
    with pytest.raises(TypeError, match=r"`recurrent\.weight_ih_l0`"):
        numrnn.from_torch(torch.nn.GRU(2, 3, device="meta"))


def test_weights_under_a_parametrisation_are_those_that_forward_uses():
    module = torch.nn.GRU(2, 3)
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    module.parametrizations.weight_hh_l0.original0.data.mul_(2)
    layer = numrnn.from_torch(module)
    same(layer.parameters["weight_hh_l0"], module.weight_hh_l0.detach().numpy())
