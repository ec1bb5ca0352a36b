"""One long series, trained piece by piece with the state carried over: truncated back-propagation through time.

The series is like an electrocardiogram: breathing changes the pace, and every fourth beat comes too early, is wider and
is followed by a pause. The model forecasts the next sample. A piece of 64 samples is not two beats long, so that only
the carried state can know how many beats ago the last early one was. Memory is that of a piece.
With a file name as argument the result is drawn into it.
"""

from __future__ import annotations

import sys

import numpy as np

import numrnn

RATE = 50  # samples a second
PIECE = 64
SHAPE = (  # of a beat: seconds from its peak, height, width in seconds
    (-0.18, 0.15, 0.025),
    (-0.04, -0.12, 0.012),
    (0.0, 1.0, 0.014),
    (0.04, -0.22, 0.014),
    (0.26, 0.3, 0.05),
)


def heart(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Make a series like an electrocardiogram."""
    time = np.arange(0.0, seconds, 1.0 / RATE)
    signal = rng.normal(0.0, 0.02, len(time))
    peak, number = 0.5, 0
    while peak < seconds + 1.0:
        early = number % 4 == 3
        for after, height, width in SHAPE:
            wide = 1.8 if early else 1.0
            signal += height * np.exp(-(((time - peak - wide * after) / (wide * width)) ** 2) / 2.0)
        pace = 0.85 + 0.06 * np.sin(2.0 * np.pi * 0.2 * peak) + rng.normal(0.0, 0.01)
        number += 1
        peak += pace * (0.65 if number % 4 == 3 else 1.35 if early else 1.0)
    return signal.astype(np.float32)


def error(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Root mean squared error."""
    return float(np.sqrt(np.mean((prediction - truth) ** 2)))


def main() -> None:
    """Train on eight minutes, forecast each sample of the next one."""
    signal = heart(540.0, np.random.default_rng(0))
    x, y = signal[:-1, None], signal[1:, None]
    cut = 480 * RATE
    print(f"{len(signal)} samples, the first {cut} to train on, in pieces of {PIECE}")

    model = numrnn.SequenceModel(numrnn.LSTM(1, 32, seed=0), numrnn.Linear(32, 1, seed=0), readout_on="every")
    adam = numrnn.optim.Adam(model, lr=4e-3)
    epochs, pieces = 12, -(-cut // PIECE)
    history = numrnn.fit(
        model,
        x[:cut],
        y[:cut],
        loss=numrnn.losses.mse,
        optimizer=adam,
        epochs=epochs,
        schedule=numrnn.optim.WarmupCosine(adam, 20, epochs * pieces),
        bptt_steps=PIECE,
        max_norm=0.5,
        n_threads=1,
        seed=0,
    )
    print(f"loss {history['loss'][0]:.4f} -> {history['loss'][-1]:.4f}")

    _, state = model(x[:cut], return_state=True)
    carried = model(x[cut:], state)  # the test minute goes on where the training minutes end
    n_whole = len(x[cut:]) // PIECE * PIECE
    rows = x[cut : cut + n_whole].reshape(-1, PIECE, 1).swapaxes(0, 1)
    forgetful = model(rows).swapaxes(0, 1).reshape(n_whole, 1)  # each piece from a state of zero
    truth = y[cut : cut + n_whole]
    print("error of the next sample in the minute that was held out")
    print(f"  the last sample again       {error(x[cut : cut + n_whole], truth):.4f}")
    print(f"  state zero at each piece    {error(forgetful, truth):.4f}")
    print(f"  state carried               {error(carried[:n_whole], truth):.4f}")

    if sys.argv[1:]:
        shown = slice(0, 8 * RATE)
        both = {"state carried": carried[shown, 0], "state zero at each piece": forgetful[shown, 0]}
        time = np.arange(cut, cut + 8 * RATE) / RATE
        axes = numrnn.plot.predictions(truth[shown, 0], both, x=time, title="the next sample, forecast")
        axes.set_xlabel("seconds")
        axes.figure.savefig(sys.argv[1])


if __name__ == "__main__":
    main()
