"""The `numrnn demo` command: trains small models on real data, and shows what a recurrent layer returns."""

from __future__ import annotations

import argparse
import time

import numrnn
from numrnn.demo import classify, forecast
from numrnn.demo.cells import CELLS

__all__ = ["add_arguments", "main"]

_DEMOS = {"forecast": forecast.show, "classify": classify.show}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's options to a command line."""
    parser.add_argument(
        "what",
        nargs="?",
        choices=tuple(_DEMOS),
        default="forecast",
        help="forecast: sunspots, a year ahead (default); classify: handwritten digits, needs scikit-learn",
    )
    parser.add_argument("--cell", default="lstm", choices=tuple(CELLS), help="default: lstm")
    parser.add_argument("--plot", metavar="FILE", help="draw the result into this file, for example result.png")
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="train for N epochs (default: what the demo finds good)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights (default: 0)")


def main(options: argparse.Namespace) -> int:
    """Carry out the command; `options` are those of `add_arguments`.

    Returns
    -------
    int
        0; or 1 if one of the identities that are checked on the way did not hold.
    """
    if options.epochs is not None and options.epochs < 1:
        raise ValueError(f"--epochs {options.epochs}: expected 1 or more.")
    if options.seed < 0:
        raise ValueError(f"--seed {options.seed}: expected 0 or more.")
    if options.plot is not None:
        numrnn.plot.check(options.plot)  # before the work, not after it
    start = time.perf_counter()
    sound = _DEMOS[options.what](options)
    if options.plot is not None:
        print(f"\nDrawn into {options.plot}")
    print(f"\nAll of this took {time.perf_counter() - start:.1f} s.")
    return 0 if sound else 1
