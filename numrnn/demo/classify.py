"""`numrnn demo classify`: handwritten digits, read row by row.

How to get another output size than `hidden_size`: a dense head on the last state gives one answer a picture, the same
head on every state one answer a row. Softmax makes probabilities of the ten numbers that are an answer.
"""

from __future__ import annotations

import argparse
import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import numrnn
from numrnn import losses, optim
from numrnn.demo.cells import CELLS, compile_kernels
from numrnn.demo.shapes import Words, same, show_shapes
from numrnn.demo.text import picture, show_losses
from numrnn.nn.linear import Linear
from numrnn.nn.model import SequenceModel
from numrnn.training.history import History

__all__ = ["Pictures", "show"]

HIDDEN_SIZE = 64
CLASSES = 10
LEARNING_RATE = 4e-3
BATCH_SIZE = 32
EPOCHS = 30
MAX_NORM = 1.0
THREADS = 1  # a batch this small is soon done
HELD_OUT = 450  # pictures, about a quarter
SPLIT_SEED = 0  # which pictures are held out does not depend on --seed


@dataclass(frozen=True, slots=True)
class Pictures:
    """Some digits: what a layer reads, and what they are."""

    x: NDArray[np.float32]  # (8, N, 8): rows of pixels are steps
    labels: NDArray[np.int64]  # (N,)


def load() -> tuple[Pictures, Pictures]:
    """Return the pictures to train on, and those held out."""
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise ImportError('The digits are those of scikit-learn: pip install "numrnn[sklearn]"') from error
    digits: Any = datasets.load_digits()
    images, labels = digits.images.astype(np.float32) / 16.0, digits.target.astype(np.int64)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))

    def chosen(rows: NDArray[np.int64]) -> Pictures:
        return Pictures(np.ascontiguousarray(images[rows].swapaxes(0, 1)), labels[rows])

    return chosen(order[HELD_OUT:]), chosen(order[:HELD_OUT])


def show(options: argparse.Namespace) -> bool:
    """Train, classify, and print all of it; return whether every identity that was checked held."""
    train, held_out = load()
    model = _make_model(options, "last")
    name = CELLS[options.cell].__name__
    _show_data(train, held_out)
    print("\nModel")
    print(f"  {model!r}")
    print(f"  {model.num_parameters} parameters; the {name} has {HIDDEN_SIZE} numbers after each row; the Linear makes")
    print(f"  {CLASSES} scores of the last {HIDDEN_SIZE}, one a digit; softmax(scores) are probabilities")
    compile_kernels(model, train.x[:, :BATCH_SIZE], THREADS)
    sound = _show_shapes(model, train.x)

    epochs = EPOCHS if options.epochs is None else options.epochs
    print("\nTraining, the head on the last state")
    history = _fit(model, train, held_out, epochs, options.seed)
    scores = model(held_out.x, n_threads=THREADS)
    table = _confusions(held_out.labels, scores.argmax(axis=-1))
    _show_confusions(table)
    _show_mistake(held_out, losses.softmax(scores))

    print('\nThe same head on every state: readout_on="every", an answer after every row')
    every = _make_model(options, "every")
    _fit(every, train, held_out, epochs, options.seed)
    asked = SequenceModel(model.recurrent, model.readout, readout_on="every")
    by_row = {"last state": _accuracy_by_row(asked, held_out), "every state": _accuracy_by_row(every, held_out)}
    _show_rows(by_row)
    if options.plot is not None:
        _draw(options.plot, history, table, by_row)
    return sound


def _make_model(options: argparse.Namespace, readout_on: str) -> SequenceModel:
    layer = CELLS[options.cell](8, HIDDEN_SIZE, seed=2 * options.seed)
    return SequenceModel(layer, Linear(HIDDEN_SIZE, CLASSES, seed=2 * options.seed + 1), readout_on=readout_on)


def _show_data(train: Pictures, held_out: Pictures) -> None:
    n_train, n_held_out = len(train.labels), len(held_out.labels)
    print("Data")
    print(f"  scikit-learn's digits: {n_train + n_held_out} pictures of 8 rows of 8 pixels, scaled to 0 to 1")
    for lines in zip(*(picture(train.x[:, n]) for n in range(4)), strict=True):
        print(f"  {'   '.join(lines)}".rstrip())
    print(f"  {'   '.join(f'{label:<16}' for label in train.labels[:4])}".rstrip())
    print("  read from top to bottom: a picture is a sequence of 8 steps, each of 8 features")
    print(f"  trained on {n_train}, held out {n_held_out}")


def _show_shapes(model: SequenceModel, x: NDArray[np.float32]) -> bool:
    """Print what layer, head and softmax return, and what is equal."""
    every = SequenceModel(model.recurrent, model.readout, readout_on="every")
    scores, after_each_row = model(x, n_threads=THREADS), every(x, n_threads=THREADS)
    probabilities = losses.softmax(scores)
    words = Words("rows", "pictures", "pixels a row", ("scores", "(N, classes): the head on the last state, model(x)"))
    return show_shapes(
        model,
        x,
        words,
        n_threads=THREADS,
        more_lines=[
            ("softmax(scores)", probabilities.shape, "(N, classes): probabilities, which add up to 1"),
            ("on every state", after_each_row.shape, '(T, N, classes): the same head with readout_on="every"'),
        ],
        more_checks=[
            ("on every state[-1] == scores", same(after_each_row[-1], scores), "the last of them is the one above"),
            (
                "argmax(softmax(scores)) == argmax(scores)",
                same(probabilities.argmax(axis=-1), scores.argmax(axis=-1)),
                "softmax changes no ranks",
            ),
        ],
    )


def _fit(model: SequenceModel, train: Pictures, held_out: Pictures, epochs: int, seed: int) -> History:
    """Train; of a model that answers after every row, each answer should be the label."""

    def target(pictures: Pictures) -> NDArray[np.int64]:
        if model.readout_on == "last":
            return pictures.labels
        return np.broadcast_to(pictures.labels, pictures.x.shape[:2])

    history = numrnn.fit(
        model,
        train.x,
        target(train),
        loss=losses.cross_entropy,
        optimizer=optim.Adam(model, lr=LEARNING_RATE),
        epochs=epochs,
        batch_size=BATCH_SIZE,
        validation=(held_out.x, target(held_out)),
        max_norm=MAX_NORM,
        n_threads=THREADS,
        seed=seed,
    )
    if history.stopped:  # by Ctrl-C
        raise KeyboardInterrupt
    print(f"  {epochs} epochs of {-(-len(train.labels) // BATCH_SIZE)} batches; cross-entropy, training and held out")
    show_losses({"loss": history["loss"], "held out": history["val_loss"]})
    return history


def _confusions(truth: NDArray[np.int64], predicted: NDArray[Any]) -> NDArray[np.int64]:
    """How often a digit (row) was taken for a digit (column)."""
    table = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(table, (truth, predicted), 1)
    return table


def _show_confusions(table: NDArray[np.int64]) -> None:
    right, total = int(np.trace(table)), int(table.sum())
    print("\nHeld-out pictures: a row for each digit, a column for what it was taken for")
    print(f"     {''.join(f'{digit:>5}' for digit in range(CLASSES))}     right")
    for digit, row in enumerate(table.tolist()):
        counts = "".join(f"{count or '.':>5}" for count in row)
        print(f"  {digit:>3}{counts}   {row[digit] / max(1, sum(row)):>6.1%}")
    print(f"  Accuracy: {right / total:.1%}, {right} of {total}.")


def _show_mistake(pictures: Pictures, probabilities: NDArray[Any]) -> None:
    """Show the picture whose digit was thought least likely."""
    own = probabilities[np.arange(len(pictures.labels)), pictures.labels]
    worst = int(np.argmin(own))
    ranked = np.argsort(probabilities[worst])[::-1][:3]
    shares = ", ".join(f"{digit} {probabilities[worst, digit]:.1%}" for digit in ranked)
    print(f"\nHardest: this {pictures.labels[worst]}. Probabilities: {shares}")
    for line in picture(pictures.x[:, worst]):
        print(f"  {line}".rstrip())


def _accuracy_by_row(model: SequenceModel, pictures: Pictures) -> list[float]:
    """Accuracy of the answer after each row."""
    right = model(pictures.x, n_threads=THREADS).argmax(axis=-1) == pictures.labels
    return [float(share) for share in right.mean(axis=1)]


def _show_rows(by_row: dict[str, list[float]]) -> None:
    width = max(len(name) for name in by_row) + len("trained on ")
    print("\nAccuracy on held-out pictures, asked after each row")
    print(f"  {'rows read':<{width}}{''.join(f'{row + 1:>7}' for row in range(8))}")
    for name, shares in by_row.items():
        print(f"  {'trained on ' + name:<{width}}{''.join(f'{share:>7.1%}' for share in shares)}")
    print("  A head reads any state, but answers well only after the steps that it was trained on.")


def _draw(path: str, history: History, table: NDArray[np.int64], by_row: dict[str, list[float]]) -> None:
    """Draw the course of the training, the confusions, and the accuracy after each row."""
    from numrnn.plot import confusion
    from numrnn.plot import history as draw_history
    from numrnn.plot.frame import COLOURS, dress, figure_module

    figure = figure_module().Figure(figsize=(11, 6.2), dpi=150, layout="constrained")
    panels = figure.subplot_mosaic([["history", "confusions"], ["rows", "confusions"]], width_ratios=(1, 1.15))
    draw_history(history, ax=panels["history"], title="cross-entropy; the held-out pictures are the validation data")
    right, total = int(np.trace(table)), int(table.sum())
    confusion(table, ax=panels["confusions"], title=f"held-out pictures, {right / total:.1%} right")
    rows = panels["rows"]
    for (name, shares), colour in zip(by_row.items(), COLOURS, strict=False):
        rows.plot(
            range(1, 9), [100.0 * share for share in shares], color=colour, marker="o", label=f"trained on {name}"
        )
    rows.set_ylim(0.0, 103.0)
    rows.set_xlabel("rows read")
    rows.set_ylabel("%")
    rows.legend(frameon=False, fontsize="small", loc=(0.2, 0.27))  # the lines leave room there
    dress(rows, "accuracy of the answer after each row")
    figure.savefig(path)
