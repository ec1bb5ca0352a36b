"""A forecast that says how sure it is: quantiles of the sunspot number a year ahead.

The head has one number for each quantile, and the quantile loss makes 10 % of the years fall below the first of them,
half below the second, 90 % below the third. The years from 1959 on are held out; those from 1909 to 1958 say when to
stop. With a file name as argument the band is drawn into it.
"""

from __future__ import annotations

import sys
from functools import partial

import numpy as np

import numrnn
from numrnn.data import sunspots

LEVELS = (0.1, 0.5, 0.9)
WINDOW = 22  # years that are read, two cycles of the sun


def main() -> None:
    """Train, and count how many of the held-out years lie in the band."""
    years, numbers = sunspots()
    roots = np.sqrt(numbers)  # evens out the spread of counts
    scale = 0.1
    windows = np.lib.stride_tricks.sliding_window_view(scale * roots[:-1], WINDOW)
    x, y, ends = windows.T[:, :, None].astype(np.float32), scale * roots[WINDOW:], years[WINDOW:]
    train, judged, held_out = ends < 1909, (ends >= 1909) & (ends < 1959), ends >= 1959

    model = numrnn.SequenceModel(numrnn.GRU(1, 24, seed=0), numrnn.Linear(24, len(LEVELS), seed=0))
    history = numrnn.fit(
        model,
        x[:, train],
        y[train],
        loss=partial(numrnn.losses.quantile, levels=LEVELS),
        optimizer=numrnn.optim.Adam(model, lr=5e-3),
        epochs=300,
        batch_size=64,
        validation=(x[:, judged], y[judged]),
        callbacks=[numrnn.callbacks.EarlyStopping(patience=40)],
        max_norm=1.0,
        n_threads=1,
        seed=0,
    )
    print(f"{len(history)} epochs, {history.stopped}")
    quantiles = np.sort(np.maximum(model(x[:, held_out]) / scale, 0.0) ** 2, axis=-1)
    truth = numbers[years >= 1959]
    inside = (quantiles[:, 0] <= truth) & (truth <= quantiles[:, 2])
    print(f"held-out years between the 10 % and the 90 % quantile: {inside.sum()} of {len(truth)}")
    print(f"below the median: {np.sum(truth < quantiles[:, 1])}")
    print(f"width of the band: {np.ptp(quantiles[:, [0, 2]], axis=1).min():.0f} to ", end="")
    print(f"{np.ptp(quantiles[:, [0, 2]], axis=1).max():.0f}")

    if sys.argv[1:]:
        shown = years >= 1934
        axes = numrnn.plot.predictions(
            numbers[shown],
            quantiles,
            levels=LEVELS,
            x=years[shown],
            held_out=1959 - 1934,
            title="Sunspots, one year ahead; the shaded years were held out",
        )
        axes.set_ylabel("sunspot number")
        axes.set_ylim(bottom=0.0)
        axes.figure.savefig(sys.argv[1])


if __name__ == "__main__":
    main()
