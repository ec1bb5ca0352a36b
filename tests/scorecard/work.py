"""What rows have the package do: calls whose answers are known from one thread, and how others are watched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
from cases import Answers, Case, assert_same_bits, layer_answers, make_layer, make_problem, random_cases

from numrnn import _threads

# enough work that tasks are dealt to threads: many rows, or one row whose units are shared out
SHARED = tuple(Case(cell, 64, 20, 48, 64, dtype="float32") for cell in ("lstm", "gru", "rnn_tanh"))
ONE_ROW = Case("lstm", 1, 40, 64, 256, dtype="float32")
SMALL = Case("rnn_tanh", 2, 5, 3, 4, dtype="float32")


class Job:
    """A layer, its call and the answers that one thread gives."""

    def __init__(self, case: Case) -> None:
        self.case, self.layer, self.problem = case, make_layer(case), make_problem(case)
        self.expected = self.answers(1)

    def answers(self, n_threads: int | None = None) -> Answers:
        """Forward and backward."""
        return layer_answers(self.layer, self.problem, n_threads=n_threads)

    def check(self, n_threads: int | None = None) -> None:
        """Forward and backward give what one thread gave."""
        assert_same_bits(self.answers(n_threads), self.expected)

    def check_forward(self, n_threads: int | None = None) -> None:
        """A plain call gives what one thread gave."""
        result = self.layer(self.problem.x, self.problem.state, n_threads=n_threads)
        np.testing.assert_array_equal(result.output, self.expected["output"])
        np.testing.assert_array_equal(result.h_n, self.expected["h_n"])


def mixed_jobs(n: int, seed: int = 0) -> list[Job]:
    """Calls that threads share, and small ones of random shapes, of three cells."""
    cells = tuple(case.cell for case in SHARED)
    return [Job(case) for case in (*SHARED, *random_cases(seed, n - len(SHARED), cells, dtype="float32"))]


@contextmanager
def parallel_launches() -> Iterator[list[int]]:
    """The threads of every launch that ran in parallel meanwhile: a row about threads shows nothing without any."""
    seen: list[int] = []
    launch = _threads.launch

    @contextmanager
    def noted(n_threads: int) -> Iterator[int]:
        with launch(n_threads) as allowed:
            if allowed > 1:
                seen.append(allowed)
            yield allowed

    _threads.launch = noted
    try:
        yield seen
    finally:
        _threads.launch = launch


def assert_shared(launches: list[int]) -> None:
    """Launches ran in parallel while other threads were alive; on workqueue none may: theirs could be under way."""
    if numba.threading_layer() == "workqueue":
        assert not launches, "workqueue was entered while another Python thread was alive"
    else:
        assert launches, "nothing ran in parallel"


def at_once(programs: Sequence[Callable[[], Any]]) -> None:
    """Run each in a thread of its own, all from the same moment; the first exception is raised here."""
    barrier = threading.Barrier(len(programs))
    errors: list[BaseException] = []

    def run(program: Callable[[], Any]) -> None:
        try:
            barrier.wait(60)
            program()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(program,)) for program in programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
