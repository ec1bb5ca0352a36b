"""SequenceModel over both directions, projections, rows of different lengths, lists, packed and single sequences."""

from typing import Any

import numpy as np
import pytest

import numrnn

Rng = np.random.Generator
heads = pytest.mark.parametrize("readout_on", ["last", "every", "mean", "max"])
LENGTHS = np.array([4, 6, 1, 3])
T, N = 6, 4


def model(readout_on: str, *, batch_first: bool = False, listed: bool = False, head: bool = True) -> Any:
    """3 features, two directions of a projected LSTM, 2 outputs."""
    options: dict[str, Any] = {"batch_first": batch_first, "dtype": "float64", "bidirectional": True}
    top = numrnn.LSTM(8 if listed else 3, 5, proj_size=2, seed=1, **options)
    recurrent = [numrnn.GRU(3, 4, seed=2, **options), top] if listed else top
    readout = numrnn.Linear(4, 2, dtype="float64", seed=3) if head else None
    return numrnn.SequenceModel(recurrent, readout, readout_on=readout_on)


def sequences(rng: Rng) -> list[Any]:
    return [rng.standard_normal((length, 3)) for length in LENGTHS]


def assert_same(one: Any, other: Any) -> None:
    for key, value in one.parameters.items():
        np.testing.assert_allclose(value, other.parameters[key], atol=1e-12, err_msg=key)


@heads
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("listed", [False, True])
def test_padding_is_not_part_of_a_prediction(rng: Rng, readout_on: str, batch_first: bool, listed: bool) -> None:
    """With lengths each row is predicted, and differentiated, as if it were alone; NaN in padding is never read."""
    net, rows = model(readout_on, batch_first=batch_first, listed=listed), sequences(rng)
    x = numrnn.pad_sequence(rows, batch_first, np.nan)
    prediction, pullback = net.vjp(x, lengths=LENGTHS)
    np.testing.assert_array_equal(net(x, lengths=LENGTHS), prediction)
    d_prediction = rng.standard_normal(prediction.shape)
    if readout_on == "every":
        predicted = numrnn.unpad_sequence(prediction, LENGTHS, batch_first)
        np.testing.assert_array_equal(numrnn.pad_sequence(predicted, batch_first), prediction)  # 0 at padded steps
        parts = numrnn.unpad_sequence(d_prediction, LENGTHS, batch_first)
        d_prediction = numrnn.pad_sequence(parts, batch_first, np.nan)
    else:
        predicted, parts = list(prediction), list(d_prediction)
    gradients = pullback(d_prediction)
    total = None
    for n, row in enumerate(rows):
        alone, alone_back = net.vjp(row)
        np.testing.assert_allclose(alone, predicted[n], atol=1e-12)
        own = alone_back(parts[n])
        d_row = gradients.x[n] if batch_first else gradients.x[:, n]
        np.testing.assert_allclose(d_row[: LENGTHS[n]], own.x, atol=1e-12)
        assert not d_row[LENGTHS[n] :].any()
        total = own if total is None else total + own
    assert_same(gradients, total)


@heads
@pytest.mark.parametrize("head", [False, True])
def test_lists_and_packed_sequences_are_predicted_in_their_form(rng: Rng, readout_on: str, head: bool) -> None:
    net, rows = model(readout_on, head=head, listed=True), sequences(rng)
    padded, padded_back = net.vjp(numrnn.pad_sequence(rows), lengths=LENGTHS)
    d_prediction = rng.standard_normal(padded.shape)
    expected = padded_back(d_prediction)
    packed = numrnn.pack_sequence(rows, enforce_sorted=False)
    for x in (rows, packed):
        prediction, pullback = net.vjp(x)
        d_given: Any = d_prediction
        if readout_on == "every":
            d_rows = numrnn.unpad_sequence(d_prediction, LENGTHS)
            d_given = d_rows if x is rows else numrnn.pack_sequence(d_rows, enforce_sorted=False)
            assert type(prediction) is type(x)
            prediction = prediction if x is rows else numrnn.unpack_sequence(prediction)
            prediction = numrnn.pad_sequence(prediction)
        np.testing.assert_allclose(prediction, padded, atol=1e-12)
        gradients = pullback(d_given)
        d_x = gradients.x if x is rows else numrnn.unpack_sequence(gradients.x)
        np.testing.assert_allclose(numrnn.pad_sequence(d_x), expected.x, atol=1e-12)
        assert_same(gradients, expected)


@heads
def test_one_sequence_is_a_batch_of_one(rng: Rng, readout_on: str) -> None:
    net, x = model(readout_on, listed=True), rng.standard_normal((T, 3))
    prediction, pullback = net.vjp(x)
    batch, batch_back = net.vjp(x[:, None])
    np.testing.assert_array_equal(prediction, batch[:, 0] if readout_on == "every" else batch[0])
    gradients = pullback(prediction)
    np.testing.assert_array_equal(gradients.x, batch_back(batch).x[:, 0])
    assert prediction.shape == ((T, 2) if readout_on == "every" else (2,))


def test_the_last_state_of_two_directions_is_both_halves(rng: Rng) -> None:
    """The head reads last_output: forward from the end, reverse from the beginning."""
    net, x = model("last"), rng.standard_normal((T, N, 3))
    result = net.recurrent(x)
    np.testing.assert_array_equal(net(x), net.readout(np.concatenate([result.h_n[-2], result.h_n[-1]], axis=-1)))


def test_parts_are_fitted_by_what_the_layers_put_out() -> None:
    gru = numrnn.GRU(3, 4, bidirectional=True)
    with pytest.raises(ValueError, match=r"`readout` has in_features=4, expected 8, 2 \* the hidden size\."):
        numrnn.SequenceModel(gru, numrnn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"`readout` has in_features=4, expected 3, proj_size\."):
        numrnn.SequenceModel(numrnn.LSTM(3, 4, proj_size=3), numrnn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"`recurrent\[1\]` has input_size=4, expected 8"):
        numrnn.SequenceModel([gru, numrnn.GRU(4, 4)], numrnn.Linear(4, 2))


def test_a_wrong_cotangent_of_a_list_is_explained(rng: Rng) -> None:
    _, pullback = model("every").vjp(sequences(rng))
    with pytest.raises(ValueError, match=r"^SequenceModel: `d_prediction` should be a list of 4 arrays, as x is one"):
        pullback(np.zeros((6, 4, 2)))
    with pytest.raises(ValueError, match=r"`d_prediction\[1\]` has shape \(5, 2\), expected \(6, 2\)"):
        pullback([np.zeros((length, 2)) for length in (4, 5, 1, 3)])
