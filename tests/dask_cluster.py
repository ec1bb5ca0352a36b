"""Predictions in a Dask cluster of two processes, told as JSON; run by test_dask.py in a process of its own."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import dask
import dask.array as da
import numba
import numpy as np
from distributed import Client, LocalCluster

import numrnn
from benchmarks.larger_than_memory import digest, memory, series

LIMIT = 400
T, N, I, H = 40, 8, 5, 9


def pool_started() -> bool:
    """Whether Numba's threads were started in this process."""
    try:
        numba.threading_layer()
    except ValueError:
        return False
    return True


def same(lazy: Any, expected: Any) -> bool:
    """Whether arrays have the same bits."""
    return all(np.array_equal(a, b) for a, b in zip(dask.compute(*lazy), expected, strict=True))


def small() -> dict[str, bool]:
    """What each way of cutting and keeping arrays gives."""
    x = np.random.default_rng(0).standard_normal((T, N, I))
    lengths = np.arange(N) * 5
    lstm, gru = numrnn.LSTM(I, H, num_layers=2, seed=1), numrnn.GRU(I, H, seed=2)
    backwards = numrnn.Reversed(numrnn.GRU(I, H, seed=3))
    model = numrnn.SequenceModel([lstm, numrnn.GRU(H, 4, seed=4)], numrnn.Linear(4, 2, seed=5), readout_on="mean")
    whole, lazy = lstm(x, lengths=lengths), da.from_array(x, chunks=(7, 3, -1))
    kept = (lazy + 0.0).persist()
    predict = numrnn.dask.predict
    output, (h_n, c_n) = predict(lstm, lazy, lengths=lengths, return_state=True)
    _, h_half = predict(gru, kept[:20], return_state=True)
    return {
        "chunks of time": same([output, h_n, c_n], [whole.output, whole.h_n, whole.c_n]),
        "chunks of the batch": same([predict(backwards, da.from_array(x, chunks=(-1, 3, -1)))], [backwards(x).output]),
        "a model of layers": same([predict(model, lazy, lengths=lengths)], [model(x, lengths=lengths)]),
        "x in the cluster": same([predict(gru, kept)], [gru(x).output]),
        "x on top of what is in the cluster": same([predict(gru, kept * 1.0)], [gru(x).output]),
        "a state in the cluster": same([predict(gru, kept[20:], state=h_half.persist())], [gru(x).output[20:]]),
        "x used elsewhere too": same([predict(gru, lazy), lazy.max()], [gru(x).output, x.max()]),
    }


def main() -> None:
    """Start a cluster, predict, and tell."""
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            memory_limit=LIMIT * 2**20,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        equal = small()
        x = series(40, 1)
        layer = numrnn.LSTM(x.shape[2], 16, seed=0)
        last = dask.compute(*digest(*numrnn.dask.predict(layer, x, return_state=True)))
        equal["finite"] = all(np.isfinite(each).all() for each in last)
        held = client.run(memory)
        pools = client.run(pool_started)
    told = {
        "workers": len(held),
        "pools": list(pools.values()),
        "equal": equal,
        "held": max(most for most, _ in held.values()),
        "limit": LIMIT,
        "series": x.nbytes / 2**20,
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
