"""The tasks of the project, under the names that CI uses: `nox -l` lists them, `nox -s lint` runs one."""

import nox

nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "imports", "tests"]

CODE = ["numrnn", "tests", "benchmarks", "examples", "noxfile.py"]

# of each question's benchmarks the smallest cell, without other libraries: do they still run?
QUICK = ["--quick", "--python=same"]
for _bench in (r"'numrnn', 'rnn', '(32,100|1,16|call|step)", "Activations", "time_loop.*'RNN', '16,32'"):
    QUICK += ["--bench", _bench]
# each question once: the LSTM at one or two sizes, with every library
DASHBOARD = ["main~3..main", "--skip-existing-successful", "--attribute", "rounds=1"]
for _bench in (
    r"'lstm', '(32,100,64,128|1,100,32,64|1,10000|64,10\.\.|64,400|1,16,|call|step|training)",
    r"'lstm', '1,256,256,256', 'forward', \d",
    r"ClosedLoop.*'LSTM', '16,32'",
    "Activations",
    "bench_start",
):
    DASHBOARD += ["--bench", _bench]


@nox.session
def lint(session: nox.Session) -> None:
    """Format and rules."""
    session.install(".[dev]")
    session.run("ruff", "format", "--check", *CODE)
    session.run("ruff", "check", *CODE)


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly."""
    session.install(".[dev]")
    session.run("mypy")


@nox.session
def imports(session: nox.Session) -> None:
    """The contracts between the layers."""
    session.install(".[dev]")
    session.run("lint-imports")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests and doctests, without optional libraries."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def narrow(session: nox.Session) -> None:
    """The kernels with AVX2's vectors, and with SSE's without FMA, on a processor that has more."""
    session.install(".[test]")
    kernels, gradients = "tests/test_kernels.py", "tests/test_gradients.py"
    session.run("pytest", kernels, *session.posargs, env={"NUMBA_CPU_NAME": "haswell"})
    for name in ("haswell", "x86-64-v2"):
        session.run("pytest", gradients, "-k", "float32", *session.posargs, env={"NUMBA_CPU_NAME": name})


@nox.session
def torch(session: nox.Session) -> None:
    """The tests that compare with PyTorch."""
    session.install(".[test]", "torch==2.13.0", "onnxscript")
    session.run("pytest", "tests", "-k", "torch or tensor", *session.posargs)


@nox.session
def interop(session: nox.Session) -> None:
    """The tests that compare with ONNX Runtime, and with Keras on JAX."""
    session.install(".[test]", "onnxruntime", "keras", "jax")
    session.run("pytest", "tests", "-k", "onnx or keras", *session.posargs, env={"KERAS_BACKEND": "jax"})


@nox.session
def soak(session: nox.Session) -> None:
    """Thirty minutes of mixed calls in one process; options replace those of the program."""
    session.install(".[test]")
    session.run("python", "-m", "benchmarks.soak", *(session.posargs or ["--minutes", "30"]))


@nox.session
def dask(session: nox.Session) -> None:
    """An array much larger than memory, in one and in two worker processes; options replace those of the program."""
    session.install(".[test]")
    session.run("python", "-m", "benchmarks.larger_than_memory", *session.posargs)


@nox.session
def scorecard(session: nox.Session) -> None:
    """The reliability scorecard: 71 cases, each in a process of its own; takes more than half an hour."""
    session.install("tbb", "joblib", "cloudpickle", "dask[array]", "distributed", "xarray")
    session.install(".[test]", "asv", "threadpoolctl")
    session.run("python", "-m", "tests.scorecard", *session.posargs)


@nox.session
def bench_quick(session: nox.Session) -> None:
    """Whether the benchmarks run; their times mean nothing at these sizes."""
    session.install(".[bench]", "torch==2.13.0")
    session.run("numrnn", "bench", "--against", "torch", "--shapes", "8,10,16,32", "--repeats", "2", "--burst", "0.01")
    session.run("asv", "machine", "--yes", silent=True)
    session.run("asv", "check", "--python=same")
    session.run("asv", "run", *QUICK)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure beside every other library; takes minutes and wants an idle machine."""
    session.install(".[peers]")
    session.run("numrnn", "bench", *session.posargs)


@nox.session
def dashboard(session: nox.Session) -> None:
    """Measure main's last commits and publish .asv/html, which needs no network; options replace those of `asv run`."""
    session.install(".[bench]")
    session.run("asv", "machine", "--yes", silent=True)
    session.run(
        "asv", "run", *(session.posargs or DASHBOARD), success_codes=[0, 2]
    )  # 2: a benchmark failed; its gap shows
    session.run("asv", "publish")
    session.run("python", "-m", "benchmarks.selfcontained", ".asv/html")
