"""Promises of the disk cache: it saves time and can never hurt. Each case is a fresh process.

What the cache does with a file does not depend on the kernel in it, so most cases take one that compiles fast.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numrnn
from numrnn import _jit

PACKAGE = Path(numrnn.__file__).parent

PROGRAM = """
import json, warnings
import numpy as np
{before}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import numrnn
    from numrnn import _jit
    x = np.linspace(-1, 1, 2 * 4 * 3, dtype="{dtype}").reshape(2, 4, 3)
    {work}
    first, second = run(), run()
assert np.array_equal(first, second)
print(json.dumps({{
    "output": first.tolist(),
    "hits": sum(kernel.stats.cache_hits.values()) if hasattr(kernel, "stats") else 0,
    "folder": str(_jit.cache_folder()),
    "warnings": [str(w.message) for w in caught],
}}))
"""


LOSS = """
    from numrnn.kernels.losses import mse as kernel
    run = lambda: numrnn.losses.mse(x, x ** 2)[1]
"""
LAYER = """
    from numrnn.kernels.lstm import lstm_forward_serial as kernel
    layer = numrnn.LSTM(3, 5, seed=0, dtype="float32")
    run = lambda: layer(x, n_threads=1).output
"""


def start(
    folder: Path | str, before: str = "", dtype: str = "float32", work: str = LOSS, **environment: str
) -> subprocess.Popen[str]:
    """Start the program with a cache folder of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(before=before, dtype=dtype, work=work.strip())],
        env=os.environ | {"NUMRNN_CACHE_DIR": str(folder), "PYTHONPATH": str(PACKAGE.parent)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> dict[str, object]:
    """Wait for the program and read its report."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    report: dict[str, object] = json.loads(out)
    return report


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A cache that one process has filled, and what that process saw."""
    folder = tmp_path_factory.mktemp("warm")
    return folder, finish(start(folder))


@pytest.mark.parametrize("work", [LOSS, LAYER], ids=["loss", "layer"])
def test_a_second_process_compiles_nothing(work: str, tmp_path: Path) -> None:
    folder, first = tmp_path, finish(start(tmp_path, work=work))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb?")}
    assert before
    second = finish(start(folder, work=work))
    assert (first["hits"], second["hits"]) == (0, 1)
    assert second["output"] == first["output"]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb?")} == before


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", ["truncated", "emptied", "random", "zeroed"])
def test_damaged_files_are_survived_and_healed(
    warm: tuple[Path, dict[str, object]], tmp_path: Path, suffix: str, damage: str
) -> None:
    folder = tmp_path / "cache"
    shutil.copytree(warm[0], folder)
    files = list(folder.rglob(f"*.{suffix}"))
    assert files
    for path in files:
        content = path.read_bytes()
        middle = len(content) // 2
        damaged = {
            "truncated": content[:middle],
            "emptied": b"",
            "random": np.random.default_rng(0).bytes(len(content)),
            "zeroed": content[:middle] + bytes(64) + content[middle + 64 :],
        }
        path.write_bytes(damaged[damage])
    assert finish(start(folder))["output"] == warm[1]["output"]
    assert finish(start(folder))["hits"] == 1


def test_code_of_another_signature_is_not_run(warm: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    """Two processes may race for a file's name; the loser's index then points at the winner's code."""
    folder, other = tmp_path / "float32", tmp_path / "float64"
    shutil.copytree(warm[0], folder)
    finish(start(other, dtype="float64"))
    for path in other.rglob("*.nbc"):
        (mine,) = folder.rglob(path.name)
        mine.write_bytes(path.read_bytes())
    assert finish(start(folder))["output"] == warm[1]["output"]
    assert finish(start(folder))["hits"] == 1


def test_many_processes_may_start_on_one_empty_cache(tmp_path: Path) -> None:
    reports = [finish(process) for process in [start(tmp_path) for _ in range(8)]]
    assert all(report["output"] == reports[0]["output"] for report in reports)
    assert finish(start(tmp_path))["hits"] == 1


def test_without_a_writable_folder_kernels_are_compiled_in_memory(
    warm: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    nowhere = str(blocked / "cache")
    variables = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "LOCALAPPDATA")
    report = finish(start(nowhere, **dict.fromkeys(variables, nowhere)))
    assert (report["folder"], report["output"]) == ("None", warm[1]["output"])


def test_a_private_name_that_numba_dropped_costs_the_cache_and_one_warning(
    warm: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    report = finish(start(tmp_path, before="import numba.core.caching as c; del c._CacheLocator"))
    assert report["output"] == warm[1]["output"]
    assert len([w for w in report["warnings"] if "keeps no compiled kernels" in w]) == 1  # type: ignore[attr-defined]
    assert not list(tmp_path.rglob("*.nb?"))


def test_an_edited_kernel_file_gets_a_cache_of_its_own(tmp_path: Path) -> None:
    copy = tmp_path / "numrnn"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "kernels" / "tile.py").open("a") as file:
        file.write("\n# edited\n")
    program = "from numrnn import _jit; print(_jit.cache_folder().name)"
    names = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONPATH": str(root), "NUMRNN_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path.parent,  # the folder of `python -c` comes before PYTHONPATH
        ).stdout.strip()
        for root in (PACKAGE.parent, tmp_path)
    ]
    assert names[0] != names[1]


def test_with_the_compiler_switched_off_the_reference_answers(tmp_path: Path) -> None:
    report = finish(start(tmp_path, NUMBA_DISABLE_JIT="1", work=LAYER))
    x = np.linspace(-1, 1, 2 * 4 * 3, dtype="float32").reshape(2, 4, 3)
    expected = numrnn.LSTM(3, 5, seed=0)(x, n_threads=1).output
    np.testing.assert_allclose(report["output"], expected, rtol=1e-5, atol=1e-6)  # type: ignore[arg-type]
    assert len([w for w in report["warnings"] if "NUMBA_DISABLE_JIT" in w]) == 1  # type: ignore[attr-defined]


def test_the_tests_kernels_compile_where_the_pool_is_one_thread() -> None:
    """`compile_kernels.py`, on a machine with one processor; in the cache of the tests, which has them already."""
    tests = Path(__file__).parent
    ended = subprocess.run(
        [sys.executable, "-c", "import compile_kernels; compile_kernels.compile_cell(('float32', 'rnn_tanh'))"],
        env={**os.environ, "NUMBA_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([*sys.path, str(tests)])},
        cwd=tests.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


def test_a_first_call_compiles_only_what_it_takes() -> None:
    """At most 3 entry kernels for a forward call, 6 for a training step."""
    program = """
import numpy as np, numrnn, gc
from numba.core.dispatcher import Dispatcher
def entries():
    ours = [d for d in gc.get_objects() if isinstance(d, Dispatcher) and "numrnn" in d.py_func.__module__]
    return sum(bool(d.signatures) and type(d._cache).__name__ != "NullCache" for d in ours)
layer = numrnn.LSTM(3, 5)
x = np.zeros((2, 4, 3), "float32")
layer(x)
forward = entries()
result, pullback = layer.vjp(x)
pullback(result.output)
print(forward, entries())
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    forward, training = map(int, run.stdout.split())
    assert 1 <= forward <= 3
    assert forward < training <= 6


def test_the_folder_is_private_to_the_user() -> None:
    folder = _jit.cache_folder()
    if folder is None or os.name != "posix":
        pytest.skip("no cache folder here")
    assert folder.stat().st_mode & 0o077 == 0
