"""C: the folder of compiled kernels, and how the package starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from cases import assert_close, make_parameters, reference_answers

from .rows import row, shown_by
from .running import ROOT
from .work import SHARED, Job

# A first step of training; what it prints comes back as a dict.
FIRST_STEP = """
import json
import numpy as np
import numrnn
from numrnn import _jit
from numrnn.kernels import rnn
layer = numrnn.RNN(3, 5, seed=0)
x = np.linspace(-1, 1, 2 * 4 * 3, dtype="float32").reshape(2, 4, 3)
result, pullback = layer.vjp(x)
gradients = pullback(result.output)
numbers = [result.output, gradients.x, *gradients.parameters.values()]
print(json.dumps({
    "numbers": [float(n) for array in numbers for n in np.ravel(array)],
    "hits": sum(rnn.rnn_tanh_forward_serial.stats.cache_hits.values()),
    "folder": str(_jit.cache_folder()),
    "version": numrnn.__version__,
}))
"""

# Kernels that are soon compiled, so that many processes can do it many times.
FIRST_CALLS = """
import json
import numpy as np
import numrnn
from numrnn.kernels import dense
y = numrnn.Linear(3, 5, seed=0)(np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3))
value, d_y = numrnn.losses.mse(y, np.zeros_like(y))
print(json.dumps({
    "numbers": [float(value), *map(float, y.ravel()), *map(float, d_y.ravel())],
    "hits": sum(dense.dense_serial.stats.cache_hits.values()),
}))
"""

# Nothing can be written anywhere, whoever asks: what a read-only image does to an ordinary user.
READ_ONLY = """
import os, sys
def refuse(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        changes = any(c in mode for c in "wax+") if isinstance(mode, str) else flags & (os.O_WRONLY | os.O_RDWR)
        if changes and isinstance(path, (str, bytes, os.PathLike)) and not os.fsdecode(path).startswith("/dev/"):
            raise OSError(30, "Read-only file system", path)
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate", "tempfile.mkstemp"):
        raise OSError(30, "Read-only file system", arguments[0])
sys.addaudithook(refuse)
"""


def start(program: str, cache: Path | str | None, *options: str, path: Path = ROOT, **variables: str | None):
    """Start a program in a fresh process; a variable of None is unset."""
    environment = os.environ | {"PYTHONPATH": str(path), "NUMRNN_CACHE_DIR": None if cache is None else str(cache)}
    environment |= variables
    return subprocess.Popen(
        [sys.executable, *options, "-c", program],
        env={name: value for name, value in environment.items() if value is not None},
        cwd=tempfile.gettempdir(),  # the folder of `python -c` comes before PYTHONPATH
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> dict:
    """Wait for a program and read what it printed."""
    out, err = process.communicate()
    assert process.returncode == 0, f"ended with {process.returncode}: {err[-600:]}"
    return json.loads(out)


def all_equal(reports: Sequence[dict]) -> None:
    """Every process has computed the same numbers."""
    assert all(report["numbers"] == reports[0]["numbers"] for report in reports), "wrong results"


@row("C-01", "16 processes start at once on one empty cache, 20 rounds", seconds=3600)
def many_start_at_once() -> None:
    expected = None
    for _ in range(20):
        with tempfile.TemporaryDirectory() as folder:
            reports = [finish(process) for process in [start(FIRST_CALLS, folder) for _ in range(16)]]
            expected = expected or reports[0]
            all_equal([expected, *reports])
            assert finish(start(FIRST_CALLS, folder))["hits"] == 1, "nothing was kept"


shown_by(
    "C-02",
    "files of the cache truncated to nothing, to half, or damaged",
    "tests/test_cache.py::test_damaged_files_are_survived_and_healed",
    "tests/test_cache.py::test_code_of_another_signature_is_not_run",
)


@row("C-03", "nothing can be written, and no folder is named", seconds=240)
def read_only_install() -> None:
    unset = dict.fromkeys(("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"))
    with tempfile.TemporaryDirectory() as folder:
        expected = finish(start(FIRST_STEP, folder))
    report = finish(start(READ_ONLY + FIRST_STEP, None, **unset))
    assert report["folder"] == "None"
    all_equal([expected, report])
    # the user is unknown too: no home folder in the table of users
    nobody = "import os, pwd\ndef unknown(uid):\n    raise KeyError(uid)\npwd.getpwuid = unknown\n"
    all_equal([expected, finish(start(nobody + READ_ONLY + FIRST_STEP, None, **unset))])


@row("C-04", "the package lies in a zip file", seconds=240)
def from_a_zip() -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "numrnn.zip")
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted((ROOT / "numrnn").rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    file.write(path, path.relative_to(ROOT))
        data = "import numrnn.data\nassert archive_name in numrnn.data.__file__\n"
        data = f"archive_name = {str(archive)!r}\n" + data
        all_equal([finish(start(data + FIRST_STEP, folder, path=archive)), finish(start(FIRST_STEP, folder))])


@row("C-05", "a cache of another processor's code, both ways", seconds=240)
def other_processors() -> None:
    for names in (("generic", None), (None, "generic")):
        with tempfile.TemporaryDirectory() as folder:
            first, second = (finish(start(FIRST_STEP, folder, NUMBA_CPU_NAME=name)) for name in names)
            assert second["hits"] == 0, "code of another processor was run"
            np.testing.assert_allclose(first["numbers"], second["numbers"], rtol=1e-4, atol=1e-6)
            for name, report in zip(names, (first, second), strict=True):
                again = finish(start(FIRST_STEP, folder, NUMBA_CPU_NAME=name))
                assert again["hits"] == 1
                all_equal([report, again])


@row("C-06", "another version of the package does not see the old cache", seconds=240)
def another_version() -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy, cache = Path(folder, "copy"), Path(folder, "cache")
        shutil.copytree(ROOT / "numrnn", copy / "numrnn", ignore=shutil.ignore_patterns("__pycache__"))
        old = finish(start(FIRST_STEP, cache, path=copy))
        assert finish(start(FIRST_STEP, cache, path=copy))["hits"] == 1
        init = copy / "numrnn" / "__init__.py"
        text = init.read_text()
        init.write_text(text.replace(f'__version__ = "{old["version"]}"', '__version__ = "99.0.0"'))
        new = finish(start(FIRST_STEP, cache, path=copy))
    assert new["version"] == "99.0.0"
    assert new["hits"] == 0, "kernels of another version were run"
    assert new["folder"] != old["folder"]
    all_equal([old, new])


@row("C-07", "NUMBA_DISABLE_JIT", fast=True, environment={"NUMBA_DISABLE_JIT": "1"})
def without_the_compiler() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for case in SHARED:
            job = Job(case)
            expected = reference_answers(case, job.problem, make_parameters(case))
            assert_close(job.expected, expected, 1e-6)
    about = [str(w.message) for w in caught if "NUMBA_DISABLE_JIT" in str(w.message)]
    assert len(about) == 1, f"{len(about)} warnings"


@row("C-08", "import: its own share is below 100 ms, nothing is compiled", seconds=240)
def cheap_import() -> None:
    program = """
import json, time, numba
before = time.process_time()  # other programs may be running
import numrnn
seconds = time.process_time() - before
import gc
from numba.core.dispatcher import Dispatcher
ours = [d for d in gc.get_objects() if isinstance(d, Dispatcher) and d.py_func.__module__.startswith("numrnn.")]
print(json.dumps({"seconds": seconds, "kernels": len(ours), "compiled": [str(d) for d in ours if d.signatures]}))
"""
    with tempfile.TemporaryDirectory() as folder:
        variables = {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": None}
        reports = [finish(start(program, folder, **variables)) for _ in range(6)]
    assert reports[0]["kernels"] > 10, "no kernel was found"
    assert not any(report["compiled"] for report in reports), reports[0]["compiled"]
    assert min(report["seconds"] for report in reports) < 0.1, [report["seconds"] for report in reports]


CORE = ("numba", "llvmlite", "numpy", "scipy", "numrnn")
ONLY_CORE = f"""
import importlib.abc, importlib.metadata, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {CORE} and top not in sys.stdlib_module_names and not top.startswith("__editable__"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""
EXTRAS = {
    "sklearn": "numrnn.sklearn",
    "torch": "numrnn.torch",
    "plot": "numrnn.plot.states(result.output[:, 0])",
    "files": "numrnn.save(layer, 'x.safetensors')",
    "onnx": "numrnn.to_onnx(layer, 'x.onnx')",
    "keras": "numrnn.from_keras(path)",
}


@row("C-09", "only the core dependencies are installed", fast=True)
def only_core_dependencies() -> None:
    calls = "\n".join(
        f"""
try:
    {call}
except ImportError as error:
    told[{extra!r}] = str(error)
"""
        for extra, call in EXTRAS.items()
    )
    program = f"""
{ONLY_CORE}
import json
import numpy as np
import numrnn
layer = numrnn.RNN(3, 5, seed=0)
x = np.ones((2, 4, 3), "float32")
result, pullback = layer.vjp(x)
pullback(result.output)
model = numrnn.SequenceModel(numrnn.RNN(3, 5), numrnn.Linear(5, 1))
history = numrnn.fit(model, x.swapaxes(0, 1), np.zeros((2, 1)), loss=numrnn.losses.mse,
                     optimizer=numrnn.optim.SGD(model, lr=0.1), epochs=1, batch_size=2, progress=False)
path = {str(ROOT / "tests" / "data")!r}
told = {{}}
{calls}
print(json.dumps(told))
"""
    told = finish(start(program, os.environ["NUMRNN_CACHE_DIR"]))
    for extra in EXTRAS:
        assert extra in told, f"without {extra} nothing is said"
        assert f"numrnn[{extra}]" in told[extra], told[extra]


@row("C-10", "python -W error: no warning of Numba's from our kernels", own_cache=True, seconds=600)
def no_warnings() -> None:
    program = """
import json
import numpy as np
import numrnn
assert not numrnn._jit.is_cached(numrnn.kernels.lstm.lstm_forward_serial)
for make in (numrnn.LSTM, numrnn.GRU, numrnn.RNN):
    layer = make(48, 64, 2, dropout=0.5, seed=0)
    x = np.ones((20, 64, 48), "float32")
    for n_threads in (1, 2):
        layer(x, n_threads=n_threads)
        result, pullback = layer.vjp(x, n_threads=n_threads)
        pullback(result.output)
numrnn.Linear(48, 3).vjp(x)[1](np.ones((20, 64, 3)))
print(json.dumps({}))
"""
    finish(start(program, os.environ["NUMRNN_CACHE_DIR"], "-W", "error"))
