"""P: forks, pools of processes, and what travels between them."""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np

import numrnn
from numrnn import _threads

from .rows import LAYERS, CannotRunError, row
from .running import ROOT
from .work import ONE_ROW, SHARED, Job, parallel_launches


def in_forked_child(program: Callable[[], Any]) -> None:
    """Run a program in a forked child; raises unless it ended well."""
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later: this process has threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            program()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with {os.waitstatus_to_exitcode(status)}"


def warm_jobs() -> list[Job]:
    """Jobs whose parallel kernels have run in this process."""
    jobs = [Job(case) for case in (*SHARED, ONE_ROW)]
    with parallel_launches() as launches:
        for job in jobs:
            job.check(2)
    assert launches, "nothing ran in parallel"
    return jobs


def check_all(jobs: list[Job]) -> None:
    """Every job twice, with as many threads as it likes."""
    for job in jobs * 2:
        job.check(2)
        job.check_forward()


def square_of_outputs(seed: int) -> float:
    """What a worker of a pool is asked for."""
    layer = numrnn.LSTM(48, 64, seed=seed)
    x = np.random.default_rng(seed).standard_normal((20, 64, 48)).astype("float32")
    result, pullback = layer.vjp(x)
    gradients = pullback(result.output)
    return float((result.output.astype("float64") ** 2).sum()) + float(gradients.norm())


def ask_pool(method: str) -> None:
    """Two workers answer as this process does."""
    here = [square_of_outputs(seed) for seed in range(6)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context(method).Pool(2) as pool:
            there = pool.map_async(square_of_outputs, range(6)).get(60)
    assert there == here


@row("P-01", "os.fork after a parallel call", fast="omp", layers=LAYERS)
def fork_after_parallel_call() -> None:
    jobs = warm_jobs()
    in_forked_child(lambda: check_all(jobs))
    in_forked_child(lambda: in_forked_child(lambda: check_all(jobs)))
    check_all(jobs)


@row("P-02", "a pool of forked workers", fast="omp", layers=LAYERS)
def pool_of_forks() -> None:
    warm_jobs()
    ask_pool("fork")


@row("P-03", "pools of forkserver and spawn", layers=LAYERS)
def pools_of_fresh_processes() -> None:
    warm_jobs()
    ask_pool("forkserver")
    ask_pool("spawn")


@row("P-04", "os.fork in a thread that is not the main one", fast="omp", layers=LAYERS)
def fork_from_a_thread() -> None:
    jobs = warm_jobs()
    errors: list[BaseException] = []

    def forks() -> None:
        try:
            in_forked_child(lambda: check_all(jobs))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=forks)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    check_all(jobs)


def _predictions(path: str) -> None:
    """What a fresh process predicts with what it unpickles; writes it beside."""
    for file in sorted(Path(path).glob("*.pickle")):
        thing, x = pickle.loads(file.read_bytes())
        np.save(file.with_suffix(".npy"), _predict(thing, x))


@row("P-05", "pickle, cloudpickle, deepcopy and joblib.dump of layers, models and estimators", layers=LAYERS)
def copies_and_pickles() -> None:
    import cloudpickle
    import joblib

    from numrnn.sklearn import RecurrentRegressor

    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 20, 48)).astype("float32")
    model = numrnn.SequenceModel(numrnn.GRU(48, 64, batch_first=True, seed=0), numrnn.Linear(64, 2, seed=1))
    estimator = RecurrentRegressor(hidden_size=16, max_epochs=1, random_state=0).fit(x, x[:, -1, 0])
    with tempfile.TemporaryDirectory() as folder:
        expected = {}
        for thing in (numrnn.LSTM(48, 64, 2, seed=0), model, estimator):
            name = type(thing).__name__
            expected[name] = _predict(thing, x)
            weights = sum(value.nbytes for value in _weights(thing).values())
            dumped = io.BytesIO()
            joblib.dump(thing, dumped)
            for bits in (pickle.dumps(thing), cloudpickle.dumps(thing), dumped.getvalue()):
                assert len(bits) <= weights + 65536, f"{name}: {len(bits)} bytes for weights of {weights}"
                assert b"\x7fELF" not in bits, f"{name}: machine code"
                found = joblib.load(io.BytesIO(bits)) if bits is dumped.getvalue() else pickle.loads(bits)
                np.testing.assert_array_equal(_predict(found, x), expected[name])
            np.testing.assert_array_equal(_predict(joblib.load(dumped), x), expected[name])
            np.testing.assert_array_equal(_predict(copy.deepcopy(thing), x), expected[name])
            Path(folder, f"{name}.pickle").write_bytes(pickle.dumps((thing, x)))
        process = multiprocessing.get_context("spawn").Process(target=_predictions, args=(folder,))
        process.start()
        process.join(90)
        assert process.exitcode == 0
        for name, output in expected.items():
            np.testing.assert_array_equal(np.load(Path(folder, f"{name}.npy")), output)


def _predict(thing: Any, x: Any) -> Any:
    predicted = thing.predict(x) if hasattr(thing, "predict") else thing(x)
    return getattr(predicted, "output", predicted)


def _weights(thing: Any) -> dict[str, Any]:
    return dict(thing.model_.parameters if hasattr(thing, "model_") else thing.parameters)


def _score_and_count(estimator: Any, x: Any, y: Any) -> float:
    """A score for the search, and the threads of the process that computed it, written beside."""
    folder = Path(os.environ["NUMRNN_SCORECARD_FOLDER"])
    counted = {"threads": len(os.listdir("/proc/self/task")), "pool": int(numba.config.NUMBA_NUM_THREADS)}
    (folder / f"{os.getpid()}.json").write_text(json.dumps(counted))
    return float(estimator.score(x, y))


@row("P-06", "GridSearchCV in two processes of loky", layers=LAYERS, seconds=240)
def grid_search() -> None:
    from sklearn.model_selection import GridSearchCV

    from numrnn.sklearn import RecurrentRegressor

    if not Path("/proc/self/task").is_dir():
        raise CannotRunError("threads are counted in /proc, which is not there")
    del os.environ["NUMBA_NUM_THREADS"]  # loky shares out what nobody has set
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 20, 8)).astype("float32")
    y, grid = x[:, -1, 0], {"hidden_size": [24, 32], "lr": [0.01, 0.003]}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NUMRNN_SCORECARD_FOLDER"] = folder
        search = GridSearchCV(
            RecurrentRegressor(max_epochs=2, random_state=0), grid, cv=2, n_jobs=2, scoring=_score_and_count
        )
        search.fit(x, y)
        workers = {path.stem: json.loads(path.read_text()) for path in Path(folder).glob("*.json")}
    workers.pop(str(os.getpid()), None)  # the last fit is made here
    assert workers, "no worker has scored"
    share = max(1, _threads.processors() // 2)
    for counted in workers.values():
        assert counted["pool"] <= share, f"a worker has a pool of {counted['pool']} threads, its share is {share}"
        assert counted["threads"] <= share + 8, f"a worker has {counted['threads']} threads"
    alone = RecurrentRegressor(max_epochs=2, random_state=0, **search.best_params_).fit(x, y)
    np.testing.assert_array_equal(alone.predict(x), search.predict(x))


@row("P-07", "a LocalCluster of two processes with two threads each", optional=True, layers=LAYERS, seconds=240)
def local_cluster() -> None:
    try:
        import dask.array as da
        from dask.distributed import Client, LocalCluster
    except ImportError as error:
        raise CannotRunError(f"dask and distributed are not installed: {error}") from error
    layer = numrnn.LSTM(48, 64, batch_first=True, seed=0)
    x = np.random.default_rng(0).standard_normal((512, 20, 48)).astype("float32")
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, local_directory=folder
        ) as cluster,
        Client(cluster) as client,
    ):
        chunked = da.from_array(x, chunks=(32, -1, -1))
        output = chunked.map_blocks(lambda block: layer(block).output, chunks=(32, 20, 64), dtype="float32")
        found = client.compute(output).result(timeout=120)
        losses = client.gather(client.map(square_of_outputs, range(16)))
        assert len(client.scheduler_info()["workers"]) == 2, "a worker was lost"
    np.testing.assert_array_equal(found, layer(x, n_threads=1).output)
    assert losses == [square_of_outputs(seed) for seed in range(16)]


@row("P-08", "asv with spawn and with forkserver", optional=True, seconds=600)
def asv_runs() -> None:
    if importlib.util.find_spec("asv") is None:
        raise CannotRunError("asv is not installed")
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"HOME": home, "ASV_PYTHONPATH": str(ROOT)}
        asv = [sys.executable, "-m", "asv"]
        subprocess.run([*asv, "machine", "--yes"], env=environment, cwd=ROOT, check=True, capture_output=True)
        for method in ("spawn", "forkserver"):
            command = [*asv, "run", "--quick", "--python=same", "--launch-method", method]
            command += ["--bench", "'numrnn', 'rnn', '(1,16|call|step)"]
            run = subprocess.run(command, env=environment, cwd=ROOT, check=False, capture_output=True, text=True)
            said = run.stdout + run.stderr
            assert run.returncode == 0, f"{method}: exit code {run.returncode}: {said[-600:]}"
            assert "failed" not in said, f"{method}: {said[-600:]}"
            assert re.search(r"\d(\.\d+)?[mun\u03bc]?s\b", said), f"{method}: nothing was measured: {said[-600:]}"


@row("P-09", "warmup in the parent, four forked children serve", fast="omp", layers=LAYERS)
def pre_fork() -> None:
    numrnn.warmup(cells=("lstm",))
    layer = numrnn.LSTM(48, 64, seed=0)
    requests = np.random.default_rng(0).standard_normal((10, 20, 64, 48)).astype("float32")

    def serve(answers: Any) -> None:
        with answers:
            for x in requests:
                answers.send(layer(x).output)

    fork = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        children = []
        for _ in range(4):
            receive, send = fork.Pipe(duplex=False)
            child = fork.Process(target=serve, args=(send,))
            child.start()
            send.close()
            children.append((child, receive))
    expected = [layer(x, n_threads=1).output for x in requests]
    for child, receive in children:
        for output in expected:
            assert receive.poll(60), "a child does not answer"
            np.testing.assert_array_equal(receive.recv(), output)
        child.join(60)
        assert child.exitcode == 0, f"a child ended with {child.exitcode}"
