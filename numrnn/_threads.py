"""How many threads a call may use, and how a parallel launch is kept harmless.

The setting is the package's own: it never touches other users of Numba, and a call's `n_threads` never outlives the
call.
"""

from __future__ import annotations

import _thread
import operator
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numba

__all__ = ["as_number", "get_num_threads", "resolve", "set_num_threads"]

_setting: int | None = None
_forked = False
_one_launch_at_a_time = threading.Lock()


def _limit() -> int:
    """Threads that Numba's pool holds, and that this process may run on."""
    return int(numba.config.NUMBA_NUM_THREADS)


def as_number(n_threads: object, argument: str, head: str = "") -> int:
    """An int of any type but bool, whatever its value; `head` begins the error."""
    try:
        if isinstance(n_threads, bool):
            raise TypeError("a bool is no number of threads")
        return operator.index(n_threads)  # type: ignore[arg-type]
    except TypeError as error:  # also of an array, which has the method whatever it holds
        got = f"{type(n_threads).__name__} {n_threads!r}"
        raise TypeError(f"{head}`{argument}` should be an int (1 or more, or -1 for all), got {got}.") from error


def _check(n_threads: object, argument: str) -> int:
    n = as_number(n_threads, argument)
    if n == -1:
        return _limit()
    if not 1 <= n <= _limit():
        raise ValueError(
            f"`{argument}` = {n}, expected 1 to {_limit()}, or -1 for all. The limit is Numba's pool: "
            "NUMBA_NUM_THREADS, read when numba is imported."
        )
    return n


def set_num_threads(n: int) -> None:
    """Set how many threads numrnn's calls use from now on.

    Parameters
    ----------
    n : int
        1 or more, at most the pool that Numba made (`NUMBA_NUM_THREADS`); -1 for all of it.

    Raises
    ------
    TypeError, ValueError
        `n` is not such a number.

    Notes
    -----
    Results do not depend on it, bit for bit. A call's own `n_threads` argument takes precedence.

    One call at a time runs on several threads; calls that other Python threads make meanwhile run on one. Where Numba's
    threading layer is workqueue (`numrnn.info` tells), which aborts the process when it is entered twice, calls run on
    one thread while any other Python thread is alive.

    Examples
    --------
    >>> import numrnn
    >>> numrnn.set_num_threads(1)
    >>> numrnn.get_num_threads()
    1
    >>> numrnn.set_num_threads(-1)
    """
    global _setting
    _setting = _check(n, "n")


def get_num_threads() -> int:
    """Return how many threads a call uses when it is not told otherwise.

    Returns
    -------
    int
        What `set_num_threads` set; otherwise Numba's own setting for this thread.

    Examples
    --------
    >>> import numrnn
    >>> numrnn.get_num_threads() >= 1
    True
    """
    if _setting is not None:
        return _setting
    return int(numba.get_num_threads())


def resolve(n_threads: object) -> int:
    """Read a call's `n_threads`: None is the package's setting, -1 is all."""
    return get_num_threads() if n_threads is None else _check(n_threads, "n_threads")


def _after_fork_in_child() -> None:
    global _forked, _one_launch_at_a_time
    _forked = True
    _one_launch_at_a_time = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


# Packages whose threads show progress, serve a notebook or a debugger, and start no parallel code.
_HARMLESS = frozenset({"IPython", "_pydevd_bundle", "debugpy", "ipykernel", "tqdm"})


def _is_harmless(thread: threading.Thread) -> bool:
    return type(thread).__module__.partition(".")[0] in _HARMLESS or thread.name == "IOPub"


def _nobody_else_may_launch() -> bool:
    """Whether the pool, which has been started, may be entered without knowing who is in it.

    The workqueue layer aborts the process when it is entered twice at once, and does not tell whether somebody is in
    it: another thread may be, in parallel code of its own. `threading` lists only the threads that it started; the
    interpreter knows those that run Python code, and counts those that `_thread` started, whatever they run.
    """
    if numba.threading_layer() != "workqueue":
        return True
    harmless = {thread.ident for thread in threading.enumerate() if _is_harmless(thread)}
    others = sys._current_frames().keys() - harmless - {threading.get_ident()}
    return not others and _thread._count() <= len(harmless)


@contextmanager
def launch(n_threads: int) -> Iterator[int]:
    """Enter a parallel launch; yields the threads that it may use, 1 meaning: run the serial twin.

    GNU OpenMP dies in a forked child, and two launches at once abort the workqueue layer; both run serially instead.
    The mask of Numba's pool belongs to the calling thread and is put back, also after an error.
    """
    entered, allowed, changed = False, False, False
    try:
        entered = n_threads > 1 and not _forked and _one_launch_at_a_time.acquire(blocking=False)
        if entered:
            before = numba.get_num_threads()  # this starts the pool
            allowed = _nobody_else_may_launch()
            changed = allowed and before != n_threads
            if changed:
                numba.set_num_threads(n_threads)
        yield n_threads if allowed else 1
    finally:
        try:
            if changed:
                numba.set_num_threads(before)
        finally:  # also where Ctrl-C comes just here
            if entered:
                _one_launch_at_a_time.release()


_PATIENCE_LOST = 50  # launches that do not try again after one whose tasks did not come together
_alone = 0


def can_meet(n_tasks: int) -> bool:
    """Whether tasks of a launch may wait for each other: as far as is known, all of them will run at once."""
    global _alone
    if _alone > 0:  # threads that count at once may go below
        _alone -= 1
        return False
    try:
        at_once = bool(numba.threading_layer() != "tbb")
    except ValueError:  # no parallel kernel has run yet
        at_once = True
    return at_once and n_tasks <= processors()


def did_not_meet() -> None:
    """Note that a launch was called off: the machine is busy, or its layer runs one task after the other."""
    global _alone
    _alone = _PATIENCE_LOST


def processors() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
