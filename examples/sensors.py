"""A series longer than memory: a year of sensors, forecast chunk by chunk with Dask.

Eight sensors report every 20 seconds. Their year, or any number of years, is never in memory: it is made, forecast and
reduced to one error an hour in chunks of a week, and the network's state goes from each week to the next. Now and then
a sensor hangs for some hours and gives noise around what it measured before: there the forecast is wrong.
With a file name as argument the errors are drawn into it.
"""

from __future__ import annotations

import sys
from typing import Any

import dask.array as da
import numpy as np

import numrnn

HOUR = 180  # samples
WEEK = 7 * 24 * HOUR
WEEKS, SENSORS = 52, 8
FAULTS = ((9, 100, 2), (23, 40, 5), (24, 150, 0), (41, 11, 7))  # week, hour of the week, sensor
LASTS = 6  # hours
PERIODS = (11.0, 37.0)  # samples


def week(block_info: Any = None, *, number: int | None = None) -> np.ndarray:
    """What the sensors measure in a week: two oscillations whose phase drifts, and noise."""
    if number is None:
        number = block_info[None]["chunk-location"][0]
    rng = np.random.default_rng(number)
    t = number * WEEK + np.arange(WEEK)[:, None]
    signal = rng.normal(0.0, 0.05, (WEEK, SENSORS))
    for k, period in enumerate(PERIODS):
        drift = np.cumsum(rng.normal(0.0, 0.02, (WEEK, SENSORS)), axis=0)
        signal += np.sin(2.0 * np.pi * t / period + np.arange(SENSORS) * (k + 1) + drift)
    for fault_week, hour, sensor in FAULTS:
        if fault_week == number:
            hangs = slice(hour * HOUR, (hour + LASTS) * HOUR)
            signal[hangs, sensor] = signal[hangs.start, sensor] + rng.normal(0.0, 0.5, LASTS * HOUR)
    return signal[..., None].astype(np.float32)


def main() -> None:
    """Train on some hours, forecast the year, and find the faults."""
    pieces = week(number=0)[: 20 * HOUR].reshape(-1, HOUR, SENSORS).swapaxes(1, 2).reshape(-1, HOUR, 1)
    gru = numrnn.GRU(1, 16, batch_first=True, seed=0)
    model = numrnn.SequenceModel(gru, numrnn.Linear(16, 1, seed=0), readout_on="every")
    history = numrnn.fit(
        model,
        pieces[:, :-1],
        pieces[:, 1:],
        loss=numrnn.losses.mse,
        optimizer=numrnn.optim.Adam(model, lr=1e-2),
        epochs=8,
        batch_size=16,
        max_norm=0.5,
        n_threads=1,
        seed=0,
    )
    print(f"loss {history['loss'][0]:.3f} -> {history['loss'][-1]:.3f}")

    x = da.map_blocks(week, chunks=((WEEK,) * WEEKS, (SENSORS,), (1,)), dtype=np.float32, meta=np.empty((0, 0, 0)))
    x = x.swapaxes(0, 1)  # (batch, time, features), as the model reads them
    wrong = abs(numrnn.dask.predict(model, x)[:, :-1, 0] - x[:, 1:, 0])
    wrong = wrong[:, HOUR - 1 :].rechunk((SENSORS, WEEK))  # from the second hour on
    errors = da.coarsen(np.mean, wrong, {1: HOUR}).compute()
    print(f"{x.nbytes / 2**20:.0f} MiB in {WEEKS} chunks of {x.nbytes / 2**20 / WEEKS:.1f} MiB, {errors.size} errors")

    sensors, hours = np.nonzero(errors > 2.0 * np.median(errors))
    alarms = set(zip((hours + 1).tolist(), sensors.tolist(), strict=True))
    true = {(number * 168 + hour + k, sensor) for number, hour, sensor in FAULTS for k in range(LASTS)}
    print(f"usual error {np.median(errors):.3f}, twice as large in {len(alarms)} hours")
    print(f"hours of faults found {100.0 * len(alarms & true) / len(true):.0f} %")
    print(f"false alarms {len(alarms - true)}")

    if sys.argv[1:]:
        shown = slice(23 * 168, 25 * 168)
        axes = numrnn.plot.states(errors[:, shown].T, limit=0.5, title="error of the forecast, hour by hour, two weeks")
        axes.set_xlabel("hours")
        axes.set_ylabel("sensor")
        axes.figure.savefig(sys.argv[1])


if __name__ == "__main__":
    main()
