"""PyTorch's own tests of recurrent cells, asked of numrnn: see `test_torch_counterparts.py`."""

import numpy as np
import pytest

import numrnn

LAYERS = {"RNN": numrnn.RNN, "LSTM": numrnn.LSTM, "GRU": numrnn.GRU}
every_cell = pytest.mark.parametrize("name", ["RNNCell", "GRUCell", "LSTMCell"])
same = np.testing.assert_array_equal


def pair(is_lstm, state):
    """A state as the cell has it."""
    return (state, state) if is_lstm else state


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["RNNCell", "GRUCell"])
def test_rnn_cell(name, bias, rng):
    cell = getattr(numrnn, name)(10, 20, bias=bias)
    x, hx = rng.standard_normal((3, 10)), rng.standard_normal((3, 20))
    pullbacks = []
    for _ in range(6):
        hx, pullback = cell.vjp(x, hx)
        pullbacks.append(pullback)
    assert hx.shape == (3, 20)
    d_h = np.ones((3, 20))
    for pullback in reversed(pullbacks):
        gradients = pullback(d_h)
        d_h = gradients.h_0
        assert all(np.isfinite(value).all() and value.any() for value in gradients.parameters.values())
    assert np.isfinite(d_h).all()


@pytest.mark.parametrize("bias", [True, False])
def test_lstm_cell(bias, rng):
    cell = numrnn.LSTMCell(10, 20, bias=bias)
    x, hx, cx = rng.standard_normal((3, 10)), rng.standard_normal((3, 20)), rng.standard_normal((3, 20))
    pullbacks = []
    for _ in range(6):
        (hx, cx), pullback = cell.vjp(x, (hx, cx))
        pullbacks.append(pullback)
    assert hx.shape == cx.shape == (3, 20)
    d_h = d_c = np.ones((3, 20))
    for pullback in reversed(pullbacks):
        gradients = pullback(d_h, d_c)
        d_h, d_c = gradients.h_0, gradients.c_0
        assert all(np.isfinite(value).all() and value.any() for value in gradients.parameters.values())
    assert np.isfinite(d_h).all()
    assert np.isfinite(d_c).all()


@every_cell
def test_rnn_cell_forward_zero_hidden_size(name):
    """PyTorch gives (3, 0); a cell that has nothing to say is refused here, as a layer of PyTorch's is."""
    with pytest.raises(ValueError, match="`hidden_size` should be an int of 1 or more, got 0"):
        getattr(numrnn, name)(10, 0)


@every_cell
def test_rnn_cell_no_broadcasting(name, rng):
    """A state or input of one feature stands for no other; a state of one row stands for every row, as for layers."""
    cell, is_lstm = getattr(numrnn, name)(10, 20, dtype="float64"), name == "LSTMCell"
    x, good, bad = (rng.standard_normal(shape) for shape in ((3, 10), (3, 20), (3, 1)))
    for hx in [(bad, good), (good, bad)] if is_lstm else [bad]:
        with pytest.raises(ValueError, match=r"has shape \(3, 1\), expected \(3, 20\)"):
            cell(x, hx)
    with pytest.raises(ValueError, match="`x` has 1 features, expected 10"):
        cell(bad, pair(is_lstm, good))
    one = good[:1]
    for hx in [(one, good), (good, one)] if is_lstm else [one]:
        whole = tuple(np.broadcast_to(part, (3, 20)) for part in hx) if is_lstm else np.broadcast_to(hx, (3, 20))
        same(cell(x, hx), cell(x, whole))


def test_lstm_cell_forward_input_size(rng):
    cell = numrnn.LSTMCell(10, 20)
    with pytest.raises(ValueError, match="`x` has 11 features, expected 10"):
        cell(rng.standard_normal((3, 11)), (rng.standard_normal((3, 20)), rng.standard_normal((3, 20))))


def test_lstm_cell_forward_hidden_size(rng):
    cell, x = numrnn.LSTMCell(10, 20), rng.standard_normal((3, 10))
    good, bad = rng.standard_normal((3, 20)), rng.standard_normal((3, 21))
    for hx in ((bad, good), (good, bad)):
        with pytest.raises(ValueError, match=r"has shape \(3, 21\), expected \(3, 20\)"):
            cell(x, hx)


def test_lstmcell_backward_only_one_output_grad(rng):
    cell = numrnn.LSTMCell(2, 3, dtype="float64")
    _, pullback = cell.vjp(rng.standard_normal((1, 2)))
    for only in ({"d_h": np.ones((1, 3))}, {"d_c": np.ones((1, 3))}):
        d_x = pullback(**only).x
        assert np.abs(d_x).sum() > 0


@every_cell
def test_errors(name, rng):
    """What PyTorch's modules must refuse by its list of error inputs."""
    make, is_lstm = getattr(numrnn, name), name == "LSTMCell"
    cell = make(10, 20)

    def draw(*shape):
        return rng.standard_normal(shape)

    with pytest.raises(ValueError, match="`x` has 3 axes"):
        cell(draw(3, 1, 10))
    with pytest.raises(ValueError, match=r"has shape \(3, 1, 20\)"):
        cell(draw(3, 10), pair(is_lstm, draw(3, 1, 20)))
    with pytest.raises(ValueError, match=r"has shape \(5, 20\), expected \(3, 20\)"):
        cell(draw(3, 10), pair(is_lstm, draw(5, 20)))
    with pytest.raises(ValueError, match=r"has shape \(3, 20\), expected \(20,\)"):
        cell(draw(10), pair(is_lstm, draw(3, 20)))
    if name == "RNNCell":
        with pytest.raises(ValueError, match="`nonlinearity` should be"):
            make(10, 20, nonlinearity="sigmoid")
    layer = LAYERS[name.removesuffix("Cell")]
    for wrong in ({"hidden_size": 0}, {"num_layers": 0}, {"input_size": 0}):
        (argument,) = wrong
        with pytest.raises(ValueError, match=f"`{argument}` should be an int of 1 or more, got 0"):
            layer(**{"input_size": 3, "hidden_size": 4} | wrong)
