"""The parent's side of a worker process."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from numrnn.bench.peers import thread_environment

__all__ = ["Worker", "WorkerError"]


class WorkerError(RuntimeError):
    """A worker could not do what it was asked; `kind` is "missing", "refused" or "failed"."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class Worker:
    """A library in its own process, confined to as many processors as it has threads.

    Parameters
    ----------
    name
        One of `numrnn.bench.peers.PEERS`.
    threads
        Threads of every pool in it, set by the environment before anything is imported.
    """

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        package_parent = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (package_parent, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "numrnn.bench.worker", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=os.environ | thread_environment(threads) | {"PYTHONPATH": path},
        )
        if hasattr(os, "sched_setaffinity"):  # before the libraries look and start their threads
            os.sched_setaffinity(self._process.pid, sorted(os.sched_getaffinity(0))[:threads])

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send one command and wait for its reply.

        Raises
        ------
        WorkerError
            The reply is an error, or the process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"command": command} | arguments) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"its process ended with exit code {self._process.wait()}", "failed")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"], reply["kind"])
        return reply

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # it ended by itself, with a command unread
                    pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
