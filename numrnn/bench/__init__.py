"""Measuring numrnn beside other libraries: the command `numrnn bench`, and what the asv suite shares with it.

cases -> peers (one library each) -> worker (a library in its process) -> processes, measure (turns) -> report. For a
roofline: caches -> ceilings (the machine) and work (a case) -> roofline (its bound).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

__all__ = ["add_arguments", "main"]

_DEFAULT_SHAPES = ["32,100,64,128", "64,100,256,256"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of `numrnn bench`."""
    parser.add_argument(
        "--against",
        default="torch,onnxruntime,jax",
        metavar="NAMES",
        help="libraries beside numrnn: torch,onnxruntime,jax (the default), or none",
    )
    parser.add_argument(
        "--shapes",
        nargs="+",
        default=_DEFAULT_SHAPES,
        metavar="N,T,I,H",
        help="batch, time, input and hidden size of one layer, where time may be a range of lengths, as in "
        "64,10..200,64,128; or `grid`, or `ragged`, the rows of the grid whose sequences differ in length "
        f"(default: {' '.join(_DEFAULT_SHAPES)})",
    )
    parser.add_argument("--cells", default="lstm,gru,rnn", metavar="NAMES", help="of lstm,gru,rnn (the default)")
    parser.add_argument("--mode", default="both", choices=("forward", "training", "both"), help="default: both")
    parser.add_argument("--threads", type=int, default=None, help="for every library (default: all processors)")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"), help="default: float32")
    parser.add_argument("--repeats", type=int, default=10, help="turns of each library (default: 10)")
    parser.add_argument("--burst", type=float, default=0.1, metavar="SECONDS", help="length of a turn (default: 0.1)")
    parser.add_argument(
        "--roofline",
        action="store_true",
        help="also measure what caches and arithmetic of this machine allow, and say how near each case comes to its "
        "bound, and what the bound is",
    )
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="also write all samples there")


def main(options: argparse.Namespace) -> int:
    """Measure, print the table, and return the exit code: 1 if results differ or numrnn failed, 2 for an option."""
    from numrnn._threads import processors
    from numrnn.bench.cases import CELL_NAMES, GRID, MODES, RAGGED, Case
    from numrnn.bench.measure import measure
    from numrnn.bench.peers import PEERS
    from numrnn.bench.report import as_json, as_roofline, as_table

    try:
        peers = [] if options.against in ("", "none") else _names(options.against, PEERS[1:], "--against")
        cells = _names(options.cells, tuple(CELL_NAMES), "--cells")
        named = {"grid": GRID, "ragged": RAGGED}
        shapes = [_shape(part) for text in options.shapes for part in named.get(text, (text,))]
        threads = processors() if options.threads is None else options.threads
        for name, value in (("--threads", threads), ("--repeats", options.repeats)):
            if value < 1:
                raise ValueError(f"{name} {value}: expected 1 or more")
        if not 0.0 < options.burst < math.inf:
            raise ValueError(f"--burst {options.burst}: expected seconds, more than 0")
        if options.json is not None and (options.json.is_dir() or not options.json.parent.is_dir()):
            raise ValueError(f"--json {options.json}: expected a file in a folder that exists")
    except ValueError as error:
        print(f"numrnn bench: {error}", file=sys.stderr)
        return 2
    modes = MODES if options.mode == "both" else (options.mode,)
    cases = [
        Case(cell, shape, mode, options.dtype, shortest)
        for mode in modes
        for cell in cells
        for shape, shortest in shapes
    ]
    outcomes, absent = measure(
        cases, peers, threads=threads, repeats=options.repeats, burst_seconds=options.burst, roofline=options.roofline
    )
    print(as_table(outcomes, absent, threads=threads))
    if options.roofline:
        print()
        print(as_roofline(outcomes))
    if options.json is not None:
        options.json.write_text(
            json.dumps(as_json(outcomes, absent, threads=threads), indent=1) + "\n", encoding="utf-8"
        )
    failed = any(outcome.mismatches or "numrnn" not in outcome.timings for outcome in outcomes)
    return 1 if failed else 0


def _names(text: str, known: tuple[str, ...], option: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        raise ValueError(f"{option} {text}: expected names of {', '.join(known)}, separated by commas")
    return list(dict.fromkeys(names))


def _shape(text: str) -> tuple[tuple[int, int, int, int], int | None]:
    from numrnn.bench.cases import read_shape

    try:
        return read_shape(text)
    except ValueError as error:
        raise ValueError(f"--shapes {error}; or `grid`, or `ragged`") from None
