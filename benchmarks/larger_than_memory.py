"""Is an array much larger than memory predicted within a limit, with the bits of the undivided call?

`python -m benchmarks.larger_than_memory --gib 8 --limit 512 --workers 1 2` makes a series chunk by chunk in the
processes of a Dask cluster, each of which has `--limit` MiB, and prints what the largest of them took. Only reductions
come back: the last output, the largest over time, and the last states. The exit code tells whether memory and bits were
as they should be.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import benchmarks.common  # isort: skip  # noqa: F401  # sets the environment before NumPy is imported
import numpy as np

import numrnn

STEPS, ROWS, FEATURES, HIDDEN = 1024, 64, 64, 16
CHUNK = STEPS * ROWS * FEATURES * 4


def block(template: np.ndarray, block_info: Any = None) -> np.ndarray:
    """Numbers that follow from where the block stands."""
    t, n, _ = block_info[None]["chunk-location"]
    shape = block_info[None]["chunk-shape"]
    return np.random.default_rng([t, n]).random(shape, np.float32)


def series(n_chunks: int, batches: int) -> Any:
    """A lazy array of so many chunks of time, and of the batch."""
    import dask.array as da  # here: asv imports all files, in environments without it

    rows = ROWS // batches
    return da.map_blocks(
        block,
        np.zeros(0, np.float32),
        chunks=((STEPS * batches,) * n_chunks, (rows,) * batches, (FEATURES,)),
        dtype=np.float32,
        meta=np.empty((0, 0, 0), np.float32),
    )


def memory() -> tuple[float, int]:
    """The most memory that this process ever held, in MiB, and its threads, of Numba's pool or any other."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024, int(fields["Threads"])


def digest(output: Any, state: Any) -> tuple[Any, ...]:
    """What is asked of a prediction: reductions, so that nothing large comes back."""
    return output[-1], output.max(axis=0), state[0], state[1]


def check(layer: numrnn.LSTM, batches: int) -> bool:
    """Whether a short series gives the bits of the undivided call."""
    import dask

    x = series(3, batches)
    output, state = numrnn.dask.predict(layer, x, return_state=True)
    result = layer(x.compute(), n_threads=1)
    expected = digest(result.output, result.state)
    return all(np.array_equal(a, b) for a, b in zip(dask.compute(*digest(output, state)), expected, strict=True))


def main(words: list[str] | None = None) -> int:
    """Run with each number of workers, print, and return the exit code."""
    import dask
    from distributed import Client, LocalCluster

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gib", type=float, default=8.0, help="size of the series")
    parser.add_argument("--limit", type=int, default=512, help="MiB that each worker process may hold")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, default=1, help="chunks of the batch, which run side by side")
    asked = parser.parse_args(words)
    layer = numrnn.LSTM(FEATURES, HIDDEN, seed=0)
    x = series(max(1, round(asked.gib * 2**30 / CHUNK / asked.batches)), asked.batches)
    output, state = numrnn.dask.predict(layer, x, return_state=True)
    good = True
    for n_workers in asked.workers:
        with (
            LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=asked.limit * 2**20,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            equal = check(layer, asked.batches)
            began = time.perf_counter()
            asked_of_it = digest(output, state)
            answers = dask.compute(*asked_of_it)
            took = time.perf_counter() - began
            finite = all(np.isfinite(answer).all() for answer in answers)
            held = client.run(memory)
        most, threads = max(held.values())[0], max(n for _, n in held.values())
        within = most < asked.limit
        good &= equal and finite and within and len(held) == n_workers
        print(
            f"{n_workers} workers: {x.nbytes / 2**30:.2f} GiB in {took:.1f} s, at most {most:.0f} MiB in a worker of "
            f"{asked.limit} MiB, {threads} threads; bits {'equal' if equal else 'DIFFER'}",
            flush=True,
        )
    return 0 if good else 1


if __name__ == "__main__":
    warnings.simplefilter("error")
    sys.exit(main())
