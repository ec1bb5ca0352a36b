"""The soak program: it passes where all is well, and fails where results, memory or calls are not as they should be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import ROOT

SOAK = [sys.executable, "-m", "benchmarks.soak"]


def program(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SOAK, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def test_a_few_calls_of_every_kind_pass() -> None:
    ended = program("--calls", "26", "--check-every", "2", "--seed", "1")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    assert "26 calls of 13 kinds" in lines
    assert "13 of 13 results are those of a fresh process" in lines
    assert lines[-1] == "passed"


CHECKS = """
import ctypes
from pathlib import Path
import numpy as np
from benchmarks import soak
from benchmarks.soak import Sample, Soak, again, slope

flat = [Sample(n, 300.0 + n % 3 + n / 100, n / 100, 5) for n in range(0, 30000, 20)]
assert abs(slope(flat)) < 0.01
assert abs(slope([Sample(n, 300.0 + 0.002 * n, 7.0, 5) for n in range(0, 30000, 20)]) - 2.0) < 1e-6

leaks = Soak(0, 20)
leaks.n_calls, leaks.samples = 30000, [Sample(n, 300.0 + 0.002 * n, 7.0, 5) for n in range(0, 30000, 20)]
leaks.check_memory(needed=True)
assert "memory grows by 2.00 MiB" in leaks.failures[0]
arrays = Soak(0, 20)
arrays.n_calls, arrays.samples = 30000, [Sample(n, 300.0, 7.0, n // 1000) for n in range(0, 30000, 20)]
arrays.check_memory(needed=True)
assert "Numba's arrays were not freed" in arrays.failures[0]
steady = Soak(0, 20)
steady.n_calls, steady.samples = 30000, flat
steady.check_memory(needed=True)
assert steady.failures == []
for samples in (flat[:100], []):  # a slow machine's run proves nothing, unless it was asked for so few
    few = Soak(0, 20)
    few.n_calls, few.samples = 2000, samples
    few.check_memory(needed=False)
    assert few.failures == []
    few.check_memory(needed=True)
    assert "could not be judged" in few.failures[0]

whole = soak.in_use()
pieces = [np.full(20_000, 1.0) for _ in range(200)]
assert 25.0 < soak.in_use() - whole < 40.0
if hasattr(ctypes.CDLL(None), "mallinfo2"):
    del pieces[::2]  # holes of which malloc keeps some
    assert 12.5 < soak.in_use() - whole < 20.0
    whole, objects = soak.in_use(), [complex(k) for k in range(100_000)]
    assert 2.0 < soak.in_use() - whole < 20.0

def broken(rng, setting):
    raise RuntimeError("a call that fails")

kept = soak.run_call
soak.run_call = lambda seed, number, setting: kept(seed, number, setting) if number < 2 else broken(None, None)
stops = Soak(4, 1)
stops.run(60.0, 10)
assert stops.n_calls == 2 and "a call that fails" in stops.failures[0]
soak.run_call = kept

file = Path("digests.txt")
file.write_text("".join(f"{number} {digest}\\n" for number, digest in stops.digests.items()))
assert again(4, file) == 0
file.write_text(f"0 {stops.digests[1]}\\n")
assert again(4, file) == 1
"""


def test_leaks_failures_and_other_bits_are_noticed(tmp_path: Path) -> None:
    environment: dict[str, Any] = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", CHECKS],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_digests_see_every_bit() -> None:
    from benchmarks.soak_calls import digest_of

    x = np.linspace(-1.0, 1.0, 7)
    other = x.copy()
    other[3] = np.nextafter(other[3], 1.0)
    different = [x, other, x.astype("f4"), x[:, None], [x], (x, None), {"a": x}, {"b": x}, -x, "x", 1.0]
    assert len({digest_of(each) for each in different}) == len(different)
    assert digest_of(x[::-1]) == digest_of(x[::-1].copy())
    with pytest.raises(TypeError, match="no digest of set"):
        digest_of({1})
