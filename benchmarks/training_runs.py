"""How long does a whole training take, and how good is the model, beside the same in PyTorch?

`python -m benchmarks.training_runs` prints a table in Markdown. Both libraries train the same model (recurrent layer,
dense head on the last state), on the same data, for the same number of epochs, with Adam and batches of 32 rows; each
has a process of its own, and they take turns. The first run of each compiles and is not counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import benchmarks.common  # isort: skip  # noqa: F401  # sets the environment before NumPy is imported
import numpy as np

CELLS = ("LSTM", "GRU", "RNN")
LIBRARIES = ("numrnn", "torch")
HIDDEN, BATCH, MAX_NORM = 64, 32, 1.0


class Task(NamedTuple):
    """Rows (T_n, I) and their targets, to learn from and to be judged by."""

    train: tuple[list[np.ndarray], np.ndarray]
    test: tuple[list[np.ndarray], np.ndarray]
    epochs: int
    lr: float
    scale: float
    """What one unit of a numeric target is worth; 0 for class labels."""


def digits() -> Task:
    """scikit-learn's handwritten digits, read as 8 steps of 8 features."""
    datasets = importlib.import_module("sklearn.datasets")
    selection = importlib.import_module("sklearn.model_selection")
    x, y = datasets.load_digits(return_X_y=True)
    rows = (x / 16.0).reshape(-1, 8, 8).astype(np.float32)
    x, x_test, y, y_test = selection.train_test_split(rows, y, random_state=0, stratify=y)
    return Task((list(x), y), (list(x_test), y_test), 30, 3e-3, 0.0)


def japanese_vowels() -> Task:
    """Nine speakers say a vowel: 12 features, 7 to 29 steps (Kudo et al. 1999), from an installed sktime or aeon."""
    for package in ("sktime", "aeon"):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            folder = Path(spec.origin).parent / "datasets" / "data" / "JapaneseVowels"
            parts = [read_ts(folder / f"JapaneseVowels_{part}.ts") for part in ("TRAIN", "TEST")]
            (x, y), (x_test, y_test) = parts
            labels = sorted(set(y))
            number = {label: k for k, label in enumerate(labels)}
            return Task(
                (x, np.array([number[label] for label in y])),
                (x_test, np.array([number[label] for label in y_test])),
                40,
                3e-3,
                0.0,
            )
    raise ModuleNotFoundError("JapaneseVowels comes with sktime or aeon, and neither is installed")


def read_ts(path: Path) -> tuple[list[np.ndarray], list[str]]:
    """Sequences and labels of a file of the UEA archive: series apart by colons, the label last."""
    rows, labels = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#@":
            *series, label = line.split(":")
            rows.append(np.array([[float(v) for v in one.split(",")] for one in series], np.float32).T.copy())
            labels.append(label)
    return rows, labels


def sunspots() -> Task:
    """The year after nine years of sunspot numbers, on square roots; judged on the years from 1950 on."""
    from numrnn.data import sunspots as load

    years, numbers = load()
    roots = np.sqrt(numbers)
    seen = roots[years < 1950]
    scaled = ((roots - seen.mean()) / seen.std()).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(scaled[:-1], 9)[..., None]
    target, late = scaled[9:, None], years[9:] >= 1950
    return Task(
        (list(windows[~late]), target[~late]), (list(windows[late]), target[late]), 100, 3e-3, float(seen.std())
    )


TASKS = {"digits": digits, "JapaneseVowels": japanese_vowels, "sunspots": sunspots}


class Numrnn:
    """The model and its training in numrnn."""

    def __init__(self, cell: str, task: Task) -> None:
        import numrnn

        self.numrnn = numrnn
        self.cell, self.task = cell, task
        self.outputs = outputs_of(task)

    def train(self) -> None:
        """Make a model and train it."""
        numrnn, (x, y) = self.numrnn, self.task.train
        layer = getattr(numrnn, self.cell)(x[0].shape[1], HIDDEN, seed=0)
        self.model = numrnn.SequenceModel(layer, numrnn.Linear(HIDDEN, self.outputs, seed=0))
        loss = numrnn.losses.mse if self.task.scale else numrnn.losses.cross_entropy
        adam = numrnn.optim.Adam(self.model, lr=self.task.lr)
        options = {"batch_size": BATCH, "max_norm": MAX_NORM, "seed": 0, "progress": False}
        numrnn.fit(self.model, stacked(x), y, loss=loss, optimizer=adam, epochs=self.task.epochs, **options)

    def predict(self) -> np.ndarray:
        """What the model says of the rows to be judged by."""
        return np.asarray(self.model(stacked(self.task.test[0])))


class Torch:
    """The same in PyTorch: ragged rows packed, everything else as plain as it goes."""

    def __init__(self, cell: str, task: Task) -> None:
        import torch

        self.torch = torch
        torch.set_num_threads(2)
        self.cell, self.task = cell, task
        self.outputs = outputs_of(task)

    def read(self, rows: list[np.ndarray]) -> Any:
        """A tensor (T, N, I), or a list of tensors where rows differ in length."""
        array = stacked(rows)
        if isinstance(array, list):
            return [self.torch.from_numpy(row) for row in array]
        return self.torch.from_numpy(np.ascontiguousarray(array))

    def forward(self, x: Any) -> Any:
        """The head on the last state of each row."""
        if isinstance(x, list):
            x = self.torch.nn.utils.rnn.pack_sequence(x, enforce_sorted=False)
        _, state = self.layer(x)
        return self.head((state[0] if self.cell == "LSTM" else state)[-1])

    def train(self) -> None:
        """Make a model and train it."""
        torch, (rows, y) = self.torch, self.task.train
        torch.manual_seed(0)
        self.layer = getattr(torch.nn, self.cell)(rows[0].shape[1], HIDDEN)
        self.head = torch.nn.Linear(HIDDEN, self.outputs)
        weights = [*self.layer.parameters(), *self.head.parameters()]
        adam = torch.optim.Adam(weights, lr=self.task.lr)
        loss = torch.nn.functional.mse_loss if self.task.scale else torch.nn.functional.cross_entropy
        x, target = self.read(rows), torch.from_numpy(y)
        for _ in range(self.task.epochs):
            for batch in torch.randperm(len(rows)).split(BATCH):
                part = [x[k] for k in batch] if isinstance(x, list) else x[:, batch]
                adam.zero_grad()
                loss(self.forward(part), target[batch]).backward()
                torch.nn.utils.clip_grad_norm_(weights, MAX_NORM)
                adam.step()

    def predict(self) -> np.ndarray:
        """What the model says of the rows to be judged by."""
        with self.torch.no_grad():
            return np.asarray(self.forward(self.read(self.task.test[0])).numpy())


def outputs_of(task: Task) -> int:
    """Numbers that a model predicts."""
    return task.train[1].shape[1] if task.scale else int(task.train[1].max()) + 1


def stacked(rows: list[np.ndarray]) -> Any:
    """(T, N, I), or the rows as they are where they differ in length."""
    return np.stack(rows, axis=1) if len({len(row) for row in rows}) == 1 else rows


def work(library: str, cell: str, name: str) -> None:
    """Answer each line of standard input by a training: seconds and score."""
    task = TASKS[name]()
    trainer = {"numrnn": Numrnn, "torch": Torch}[library](cell, task)
    for _ in sys.stdin:
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
        prediction, truth = trainer.predict(), task.test[1]
        if task.scale:
            score = float(np.sqrt(np.mean((prediction - truth) ** 2))) * task.scale
        else:
            score = float(np.mean(prediction.argmax(axis=-1) == truth))
        time.sleep(0.3)  # threads that still spin come to rest
        print(seconds, score, flush=True)


def compare(name: str, cell: str, repeats: int) -> str:
    """One line of the table."""
    command = [sys.executable, "-m", "benchmarks.training_runs", "--cells", cell, "--tasks", name, "--worker"]
    workers = {
        library: subprocess.Popen([*command, library], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for library in LIBRARIES
    }
    seconds: dict[str, list[float]] = {library: [] for library in LIBRARIES}
    scores: dict[str, float] = {}
    for _ in range(repeats + 1):
        for library, worker in workers.items():
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
            taken, score = map(float, worker.stdout.readline().split())
            seconds[library].append(taken)
            scores[library] = score
    for worker in workers.values():
        worker.communicate()
    ours, theirs = (min(seconds[library][1:]) for library in LIBRARIES)
    shown = [f"{scores[library]:.3f}" for library in LIBRARIES]
    return f"| {name} | {cell} | {shown[0]} | {shown[1]} | {ours:.2f} s | {theirs:.2f} s | {theirs / ours:.1f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--repeats", type=int, default=3, help="trainings of each, of which the fastest counts")
    parser.add_argument("--worker", choices=LIBRARIES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.cells[0], options.tasks[0])
        return
    print("| data | cell | score, numrnn | score, PyTorch | time, numrnn | time, PyTorch | times faster |")
    print("|---|---|---|---|---|---|---|")
    for name in options.tasks:
        for cell in options.cells:
            print(compare(name, cell, options.repeats), flush=True)


if __name__ == "__main__":
    main()
