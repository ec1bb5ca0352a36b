"""How long until the first answer: importing, compiling, and loading what an earlier process compiled?"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import CELLS  # isort: skip  # sets the environment before numrnn is imported
import numrnn

IMPORT = """
import time, numba
start = time.perf_counter()
import numrnn
print(time.perf_counter() - start)
"""

FIRST_CALL = """
import sys, numpy as np, numrnn
cell, mode = sys.argv[1:]
layer = {"lstm": numrnn.LSTM, "gru": numrnn.GRU, "rnn": numrnn.RNN}[cell](64, 128)
x = np.zeros((100, 32, 64), np.float32)
if mode == "forward":
    layer(x)
else:
    result, pullback = layer.vjp(x)
    pullback(d_output=result.output)
"""


WHERE = str(Path(numrnn.__file__).parents[1])  # the numrnn that is measured, installed or a checkout


def run(code, *arguments, **environment):
    """Run code in a new interpreter; returns its output and the seconds from its start to its end."""
    start = time.perf_counter()
    finished = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": WHERE, "PYTHONDONTWRITEBYTECODE": ""} | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return finished.stdout, time.perf_counter() - start


def track_import_beyond_numba():
    return min(float(run(IMPORT)[0]) for _ in range(5))


track_import_beyond_numba.unit = "s"
track_import_beyond_numba.version = "1"


def folder_bytes(folder):
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


class FirstCall:
    """A whole process, its imports included; and what it leaves on disk."""

    params = (CELLS, ["forward", "training"])
    param_names = ("cell", "mode")
    version = "1"
    unit = "s"
    timeout = 300

    def setup_cache(self):
        """Everything is compiled once for all three questions; asv gives this no parameters."""
        found = {}
        for cell in CELLS:
            for mode in ("forward", "training"):
                with tempfile.TemporaryDirectory() as folder:
                    empty = run(FIRST_CALL, cell, mode, NUMRNN_CACHE_DIR=folder)[1]
                    size = folder_bytes(folder)
                    full = min(run(FIRST_CALL, cell, mode, NUMRNN_CACHE_DIR=folder)[1] for _ in range(3))
                found[cell, mode] = {"empty": empty, "bytes": size, "full": full}
        return found

    setup_cache.timeout = 600

    def track_empty_cache(self, found, cell, mode):
        return found[cell, mode]["empty"]

    def track_full_cache(self, found, cell, mode):
        return found[cell, mode]["full"]

    def track_cache_size(self, found, cell, mode):
        return found[cell, mode]["bytes"]

    track_cache_size.unit = "bytes"
