"""Two days ahead, hour by hour: forecasts fed back as input, with what is known of the future, and many possible paths.

The series is like the load of a town's electricity grid. At each hour the model reads the load, and of the next hour
the time of day, whether it is a working day, and the temperature that the weather forecast says. It is trained to say
the next hour's load. A roll-out then feeds its predictions back, with noise as large as its errors were: each path is a
possible future, and their quantiles are a band. With a file name as argument the result is drawn into it.
"""

from __future__ import annotations

import sys

import numpy as np

import numrnn

DAY, WEEK, HORIZON = 24, 168, 48


def town(hours: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Make the load (hours,), and for each hour what is known of it (hours, 4)."""
    hour = np.arange(hours)
    angle = 2.0 * np.pi * (hour % DAY) / DAY
    working = (hour // DAY) % 7 < 5
    weather = np.zeros(hours)
    for t in range(1, hours):
        weather[t] = 0.97 * weather[t - 1] + rng.normal(0.0, 0.25)
    temperature = -0.6 * np.cos(angle - 0.8) + weather
    rhythm = 1.0 - 0.7 * np.cos(angle) - 0.35 * np.cos(2.0 * angle + 0.6)
    load = (
        rhythm * np.where(working, 1.0, 0.6) + 0.3 * np.maximum(-temperature, 0.0) + 0.15 * np.maximum(temperature, 0)
    )
    slow = np.zeros(hours)
    for t in range(1, hours):
        slow[t] = 0.8 * slow[t - 1] + rng.normal(0.0, 0.05)
    return load + slow, np.column_stack([np.cos(angle), np.sin(angle), working, temperature])


def main() -> None:
    """Train on sixteen weeks, and roll out the two days after."""
    weeks = 16
    hours = weeks * WEEK
    load, known = town(hours + HORIZON + 1, np.random.default_rng(0))
    mean, deviation = load[:hours].mean(), load[:hours].std()
    scaled = (load - mean) / deviation
    x = np.column_stack([scaled[:-1], known[1:]]).astype(np.float32)  # known of the hour that is forecast
    y = scaled[1:, None]

    model = numrnn.SequenceModel(numrnn.LSTM(5, 48, seed=0), numrnn.Linear(48, 1, seed=0), readout_on="every")
    adam = numrnn.optim.Adam(model, lr=5e-3)
    rows = [part[:hours].reshape(weeks, WEEK, -1).swapaxes(0, 1) for part in (x, y)]
    epochs = 120
    history = numrnn.fit(
        model,
        *rows,
        loss=numrnn.losses.mse,
        optimizer=adam,
        epochs=epochs,
        batch_size=4,
        schedule=numrnn.optim.WarmupCosine(adam, 20, epochs * weeks // 4),
        max_norm=1.0,
        n_threads=1,
        seed=0,
    )
    noise = np.sqrt(history["loss"][-1])  # the error of one step
    print(f"error an hour ahead: {noise * deviation:.3f}, of a load from {load.min():.2f} to {load.max():.2f}")

    past, future = x[:hours], x[hours : hours + HORIZON]
    forecast = model.rollout(past, HORIZON, known=future[:, 1:], n_threads=1)[:, 0] * deviation + mean
    paths = model.rollout(past, HORIZON, known=future[:, 1:], noise=noise, n_paths=300, seed=0, n_threads=1)
    paths = paths[:, :, 0] * deviation + mean
    levels = (0.1, 0.5, 0.9)
    quantiles = np.quantile(paths, levels, axis=0).T
    truth = load[hours : hours + HORIZON]
    week_before = load[hours - WEEK : hours - WEEK + HORIZON]
    print(f"error over the next {HORIZON} hours")
    print(f"  the same hour a week before  {np.sqrt(np.mean((week_before - truth) ** 2)):.3f}")
    print(f"  roll-out                     {np.sqrt(np.mean((forecast - truth) ** 2)):.3f}")
    inside = (quantiles[:, 0] <= truth) & (truth <= quantiles[:, 2])
    print(f"hours inside the band of 10 % to 90 % of {len(paths)} paths: {inside.sum()} of {HORIZON}")

    if sys.argv[1:]:
        shown = slice(hours - 4 * DAY, hours + HORIZON)
        title = "load of a town, rolled out for two days"
        axes = numrnn.plot.predictions(load[shown], quantiles, levels=levels, held_out=4 * DAY, title=title)
        lines = axes.plot(np.arange(4 * DAY, 4 * DAY + HORIZON), paths[:3].T, color="#2f6fb0", linewidth=0.7)
        lines[0].set_label("three of the paths")
        axes.legend(frameon=False, ncols=4, loc="upper left", fontsize="small")
        axes.set_xlabel("hour")
        axes.figure.savefig(sys.argv[1])


if __name__ == "__main__":
    main()
