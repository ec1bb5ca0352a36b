"""Who speaks? Recordings of different lengths, classified by a network that reads them in both directions.

Nine men say two vowels, 640 times in all; a recording is 7 to 29 steps of 12 numbers. No padding, no sorting: the model
takes a list of arrays. The data are JapaneseVowels (Kudo, Toyama & Shimbo 1999), read from an installed aeon or sktime,
neither of which is imported: `pip install aeon`. With a file name as argument the result is drawn into it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np

import numrnn


def find(part: str) -> Path:
    """Return the file of the "TRAIN" or "TEST" data."""
    for package in ("aeon", "sktime"):
        spec = importlib.util.find_spec(package)
        for folder in [] if spec is None else spec.submodule_search_locations or []:
            file = Path(folder, "datasets", "data", "JapaneseVowels", f"JapaneseVowels_{part}.ts")
            if file.is_file():
                return file
    raise SystemExit("The recordings come with aeon and with sktime: pip install aeon")


def read(file: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Read a .ts file: recordings (T_n, 12), and who speaks."""
    text = file.read_text(encoding="utf-8")
    recordings, speakers = [], []
    for line in text.partition("@data\n")[2].splitlines():
        *features, speaker = line.split(":")
        recordings.append(np.array([feature.split(",") for feature in features], np.float32).T)
        speakers.append(int(speaker) - 1)
    return recordings, np.array(speakers)


def main() -> None:
    """Train on 270 recordings, and name the speakers of 370 others."""
    (x, y), (x_test, y_test) = read(find("TRAIN")), read(find("TEST"))
    steps = np.concatenate(x)
    mean, deviation = steps.mean(axis=0), steps.std(axis=0)
    x, x_test = ([(each - mean) / deviation for each in part] for part in (x, x_test))
    print(f"{len(x)} recordings to train on, {min(map(len, x))} to {max(map(len, x))} steps; {len(x_test)} to test")

    layer = numrnn.GRU(12, 64, bidirectional=True, seed=0)
    model = numrnn.SequenceModel(layer, numrnn.Linear(2 * 64, 9, seed=0), readout_on="mean")
    history = numrnn.fit(
        model,
        x,
        y,
        loss=numrnn.losses.cross_entropy,
        optimizer=numrnn.optim.Adam(model, lr=3e-3),
        epochs=40,
        batch_size=32,
        max_norm=1.0,
        validation=(x_test, y_test),  # looked at, not used
        n_threads=1,
        seed=0,
    )
    predicted = model(x_test).argmax(axis=-1)
    print(f"loss {history['loss'][0]:.2f} -> {history['loss'][-1]:.4f}")
    print(f"accuracy {np.mean(predicted == y_test):.1%}")

    if sys.argv[1:]:
        table = np.zeros((9, 9), int)
        np.add.at(table, (y_test, predicted), 1)
        names = range(1, 10)
        axes = numrnn.plot.confusion(
            table, names=names, title="test recordings: speakers, and what they were taken for"
        )
        axes.figure.savefig(sys.argv[1])


if __name__ == "__main__":
    main()
