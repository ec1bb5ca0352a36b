"""Ctrl-C while kernels are compiled.

LLVM hands compiled code to Python through a callback. A KeyboardInterrupt that is raised there is printed and dropped,
and a signal that comes while LLVM works, which is most of the time, is answered just there.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupts_kept"]

_CALLBACKS = "_raw_object_cache_"  # llvmlite's; under other names a Ctrl-C is dropped there as before


def _in_callback(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name.startswith(_CALLBACKS):
            return True
        frame = frame.f_back
    return False


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Raise at the end the KeyboardInterrupt that would be dropped in between; any other at once."""
    of_python = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not of_python or threading.current_thread() is not threading.main_thread():
        yield  # what a program does with Ctrl-C, it does; and only the main thread hears it
        return
    kept = False

    def keep(number: int, frame: FrameType | None) -> None:
        nonlocal kept
        if _in_callback(frame):
            kept = True
        else:
            signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, keep)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if kept:
        raise KeyboardInterrupt
