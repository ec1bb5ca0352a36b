"""Who may enter Numba's pool, and what is left behind: the rest is in the scorecard, on every layer."""

from __future__ import annotations

import _thread
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numba
import pytest
from documents import ROOT

from numrnn import _threads

pytestmark = pytest.mark.skipif(_threads._limit() < 2, reason="one thread has no parallel launch")


class OfNotebook(threading.Thread):
    """As ipykernel's are: its class tells where it comes from."""


OfNotebook.__module__ = "ipykernel.control"


@contextmanager
def alive(thread: threading.Thread) -> Iterator[None]:
    """A thread that waits."""
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        stop.clear()


stop = threading.Event()


@contextmanager
def alive_unlisted(work: Callable[[], object], end: Callable[[], object]) -> Iterator[None]:
    """A thread that `threading` does not list, running `work` until `end` is called."""
    before = _thread._count()
    _thread.start_new_thread(work, ())
    try:
        while _thread._count() == before:
            time.sleep(0.001)
        yield
    finally:
        end()
        while _thread._count() > before:
            time.sleep(0.001)
        stop.clear()


def allowed(n_threads: int = 2) -> int:
    """The threads that a launch may use."""
    with _threads.launch(n_threads) as n:
        return n


@pytest.mark.parametrize("layer", ["workqueue", "omp", "tbb"])
def test_on_workqueue_a_launch_is_parallel_only_if_no_other_thread_can_be_in_one(
    layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a thread is found by being alive; those that serve a notebook or show progress do not count."""
    if _thread._count() and "IN_A_FRESH_PROCESS" not in os.environ:  # threads that other tests left behind
        own = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
        environment = os.environ | {"IN_A_FRESH_PROCESS": "1"}
        subprocess.run([sys.executable, "-m", "pytest", "-q", own], cwd=ROOT, env=environment, check=True, timeout=300)
        return
    assert allowed() == 2  # and the pool is started
    monkeypatch.setattr(numba, "threading_layer", lambda: layer)
    assert allowed() == 2
    with alive(threading.Thread(target=stop.wait)):
        assert allowed() == (1 if layer == "workqueue" else 2)
    lock = threading.Lock()
    lock.acquire()
    for work, end in ((stop.wait, stop.set), (lock.acquire, lock.release)):  # with Python code, and without
        with alive_unlisted(work, end):
            assert allowed() == (1 if layer == "workqueue" else 2)
    for harmless in (OfNotebook(target=stop.wait), threading.Thread(target=stop.wait, name="IOPub")):
        with alive(harmless):
            assert allowed() == 2
    assert allowed() == 2


def fail(error: type[BaseException]) -> None:
    """Raise an error in a launch, while which no other is parallel."""
    with _threads.launch(2):
        assert allowed() == 1
        raise error


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_a_launch_leaves_the_mask_and_the_lock_as_they_were(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = numba.get_num_threads()
    monkeypatch.setattr(numba, "threading_layer", lambda: layer)
    with alive(threading.Thread(target=stop.wait)):
        for error in (ValueError, KeyboardInterrupt):
            with pytest.raises(error):
                fail(error)
            assert numba.get_num_threads() == before
            assert _threads._one_launch_at_a_time.acquire(blocking=False)
            _threads._one_launch_at_a_time.release()
