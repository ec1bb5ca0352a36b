"""`numrnn.dask.predict` refuses when it is called, not when something is computed."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn import Linear, SequenceModel

da = pytest.importorskip("dask.array")

T, N, I, H = 12, 4, 3, 5
LAYER = numrnn.GRU(I, H, seed=0)
LSTM = numrnn.LSTM(I, H, seed=0)
MODEL = SequenceModel([LSTM, numrnn.GRU(H, H)], Linear(H, 1))
X = da.zeros((T, N, I), chunks=(4, 2, -1))
UNKNOWN = da.zeros(T * N, chunks=4)
UNKNOWN = UNKNOWN[UNKNOWN >= 0][:, None, None] * np.ones((1, N, I))

REFUSALS: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "an array": (np.zeros((T, N, I)), {}, TypeError, r"`x` should be a Dask array, got ndarray.*\n.*from_array"),
    "a list": ([np.zeros((T, I))], {}, TypeError, r"`x` should be a Dask array, got list"),
    "features": (da.zeros((T, N, I + 1)), {}, ValueError, r"GRU.*`x` has 4 features, expected 3"),
    "axes": (da.zeros(T), {}, ValueError, r"`x` has 1 axes, expected 3"),
    "features in chunks": (
        da.zeros((T, N, I), chunks=(4, 4, 1)),
        {},
        ValueError,
        r"3 features in 3 chunks, expected one.*\n.*x.chunks = .*\n.*x.rechunk\(\{-1: -1\}\)",
    ),
    "unknown": (UNKNOWN, {}, ValueError, r"`x` has chunks of unknown size.*\n.*x.compute_chunk_sizes\(\)"),
    "objects": (X.astype(object), {}, TypeError, r"`x` holds Python objects"),
    "complex": (X.astype(complex), {}, TypeError, r"`x` holds complex numbers"),
    "masked": (da.ma.masked_equal(X, 1.0), {}, TypeError, r"`x` is a masked array"),
    "lengths": (X, {"lengths": [1, 2]}, ValueError, r"`lengths` has shape \(2,\), expected \(4,\)"),
    "long lengths": (X, {"lengths": [1, 2, 3, 13]}, ValueError, r"`lengths\[3\]` is 13, expected 0 to 12"),
    "lazy lengths": (X, {"lengths": da.ones(N, int)}, TypeError, r"`lengths` is a Dask array.*\n.*lengths.compute\(\)"),
    "lengths of one": (X[:, 0], {"lengths": [3]}, ValueError, r"`lengths` was given, but x is one sequence"),
    "state": (X, {"state": np.zeros((1, 3, H))}, ValueError, r"`h_0` has shape \(1, 3, 5\), expected \(1, 4, 5\)"),
    "lazy state": (X, {"state": da.zeros((1, 3, H))}, ValueError, r"`h_0` has shape \(1, 3, 5\), expected \(1, 4, 5\)"),
    "state of objects": (X, {"state": da.zeros((1, N, H)).astype(object)}, TypeError, "`h_0` holds Python objects"),
    "masked state": (
        X,
        {"state": da.ma.masked_equal(da.zeros((1, N, H)), 1.0)},
        TypeError,
        r"GRU.*`h_0` is a masked array",
    ),
    "unknown state": (X, {"state": UNKNOWN}, ValueError, r"`state` has chunks of unknown size"),
    "pair": (X, {"state": (da.zeros((1, N, H)), da.zeros((1, N, H)))}, TypeError, r"`state` is a tuple of 2"),
    "result": (X, {"state": LAYER(np.zeros((T, N, I)))}, TypeError, r"`state` is a whole result"),
    "return_state": (X, {"return_state": 1}, TypeError, r"`return_state` should be True or False"),
    "n_threads": (X, {"n_threads": 0}, ValueError, r"predict: `n_threads` = 0, expected 1 or more, or -1 for all"),
    "n_threads below all": (X, {"n_threads": np.int64(-2)}, ValueError, r"predict: `n_threads` = -2, expected 1"),
    "n_threads kind": (
        X,
        {"n_threads": 1.5},
        TypeError,
        r"predict: `n_threads` should be an int \(1 or more, or -1 for all\), got float 1.5",
    ),
    "n_threads bool": (X, {"n_threads": True}, TypeError, r"`n_threads` should be an int .*, got bool True"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_what_cannot_be_predicted_is_refused_at_once(what: str) -> None:
    x, options, kind, text = REFUSALS[what]
    with pytest.raises(kind, match=text):
        numrnn.dask.predict(LAYER, x, **options)


def test_states_of_other_cells_and_of_lists_of_layers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"`state` should be a pair \(h_0, c_0\)"):
        numrnn.dask.predict(LSTM, X, state=da.zeros((1, N, H)))
    with pytest.raises(ValueError, match=r"`c_0` has shape \(1, 9, 5\)"):
        numrnn.dask.predict(LSTM, X, state=(np.zeros((1, N, H)), da.zeros((1, 9, H))))
    with pytest.raises(TypeError, match=r"`c_0` is a masked array"):
        numrnn.dask.predict(LSTM, X, state=(np.zeros((1, N, H)), da.ma.masked_equal(da.zeros((1, N, H)), 1.0)))
    with pytest.raises(ValueError, match=r"`state` should be a list of 2 states"):
        numrnn.dask.predict(MODEL, X, state=[None])
    with pytest.raises(ValueError, match=r"`h_0` has shape \(1, 4, 6\)"):
        numrnn.dask.predict(MODEL, X, state=[None, da.zeros((1, N, 6))])


@pytest.mark.parametrize("model", [numrnn.GRUCell(I, H), Linear(I, H), None, "gru"], ids=repr)
def test_what_is_no_model_of_sequences_is_refused(model: Any) -> None:
    with pytest.raises(
        TypeError, match=r"`model` should be an RNN, LSTM, GRU, Reversed or SequenceModel.*\n.*map_blocks"
    ):
        numrnn.dask.predict(model, X)


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask.array", None)
    for name in [name for name in sys.modules if name.split(".")[:2] == ["numrnn", "dask"]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(numrnn.__dict__, "dask", raising=False)
    with pytest.raises(ImportError, match=r'pip install "numrnn\[dask\]"'):
        _ = numrnn.dask
