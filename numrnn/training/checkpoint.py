"""A training run in a file, and back."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn._files import read_arrays, write_arrays
from numrnn.nn.fixed import arguments

if TYPE_CHECKING:
    from numrnn.training.run import Run

__all__ = ["Checkpoints"]

_FORMAT = "training"


class Checkpoints:
    """The file of one run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = time.perf_counter()
        self._digest: int | None = None  # of the data, which do not change

    def exists(self) -> bool:
        """Whether there is a file."""
        return self._path.exists()

    @property
    def age(self) -> float:
        """Seconds since the file was written, or since the run began."""
        return time.perf_counter() - self._written

    def write(self, run: Run) -> None:
        """Replace the file by the run as it stands."""
        place, options = run.place, run.options
        parts: dict[str, Mapping[str, NDArray[Any]]] = {
            "model": run.model.parameters,
            "optimizer": run.optimizer.state_dict(),
            "schedule": {} if options.schedule is None else options.schedule.state_dict(),
            "carried": dict(_named(place.carried)),
            "history": {name: np.array(column) for name, column in dict(run.history).items()},
            **{f"callback{k}": callback.state_dict() for k, callback in enumerate(run.callbacks)},
        }
        arrays = {f"{part}/{name}": np.asarray(value) for part, held in parts.items() for name, value in held.items()}
        description = {
            "format": _FORMAT,
            "version": 1,
            "of": self._identity(run),
            "epoch": place.epoch,
            "batch": place.batch,
            "chunk": place.chunk,
            "sums": {name: getattr(place.sums, name) for name in place.sums.__slots__},
            "seed": run.history.seed,
            "stopped": None if run.interrupted else run.history.stopped,
        }
        write_arrays("fit", self._path, arrays, description)
        self._written = time.perf_counter()

    def read(self, run: Run, seed: int | None) -> None:
        """Put a new run where the one stood that wrote the file."""
        arrays, description = read_arrays("fit", self._path, _FORMAT)
        shown = repr(str(self._path))
        here = self._identity(run)
        for name, value in description["of"].items():
            if here.get(name) != value:
                problem = f"{shown} belongs to another run: its {name} is {value}, here it is {here.get(name)}."
                raise ValueError(explain("fit", problem, "Resume with the arguments of the first run, or drop resume."))
        if seed is not None and seed != description["seed"]:
            problem = f"`seed` is {seed}, but the run in {shown} has {description['seed']}."
            raise ValueError(explain("fit", problem, "Leave it out to resume."))
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for name, value in arrays.items():
            part, _, rest = name.partition("/")
            parts.setdefault(part, {})[rest] = value
        run.optimizer.load_state_dict(parts["optimizer"])
        if run.options.schedule is not None:
            run.options.schedule.load_state_dict(parts.get("schedule", {}))
        for k, callback in enumerate(run.callbacks):
            if held := parts.get(f"callback{k}"):
                callback.load_state_dict(held)
        run.model.load_state_dict(parts["model"])
        place = run.place
        place.epoch, place.batch, place.chunk = (description[name] for name in ("epoch", "batch", "chunk"))
        for name, value in description["sums"].items():
            setattr(place.sums, name, value)
        place.carried = _nested(parts.get("carried", {}))
        columns = {name: column.tolist() for name, column in parts.get("history", {}).items()}
        run.history._restore(description["seed"], columns, description["stopped"])

    def _identity(self, run: Run) -> dict[str, Any]:
        """What must be alike for a run to go on."""
        options, optimizer = run.options, run.optimizer
        if self._digest is None:
            self._digest = run.data.digest() ^ (0 if run.validation is None else run.validation.digest())
        settings = {name: getattr(optimizer, name) for name, _ in arguments(type(optimizer)) if name not in _MOVING}
        return {
            "model": re.sub(r",? ?seed=[0-9]+", "", repr(run.model)),  # its weights are those of the file
            "optimizer": f"{type(optimizer).__name__} with {settings}",
            "schedule": type(options.schedule).__name__,
            "callbacks": [type(callback).__name__ for callback in run.callbacks],
            "loss": _name(options.loss),
            "batch_size": options.batch_size,
            "bptt_steps": options.bptt_steps,
            "max_norm": options.max_norm,
            "validation": run.validation is not None,
            "number of rows": run.data.n_rows,
            "data's digest": self._digest,
        }


_MOVING = ("model", "lr")  # arguments of an optimiser that its state has, or its model


def _name(loss: Any) -> str:
    """A loss and what it was given, without the addresses that differ from process to process."""
    if isinstance(loss, partial):
        given = {name: zlib.crc32(np.asarray(value).tobytes()) for name, value in sorted(loss.keywords.items())}
        return f"{_name(loss.func)} with {given}"
    return str(getattr(loss, "__qualname__", type(loss).__qualname__))


def _named(state: Any, prefix: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays of nested states, each named by its path: "-", "0", "1.0"."""
    if isinstance(state, np.ndarray):
        yield prefix or "-", state
    elif state is not None:
        for k, part in enumerate(state):
            yield from _named(part, f"{prefix}.{k}" if prefix else str(k))


def _nested(named: Mapping[str, NDArray[Any]]) -> Any:
    """What `_named` took apart."""
    if not named:
        return None
    if "-" in named:
        return named["-"]
    groups: dict[int, dict[str, NDArray[Any]]] = {}
    for name, value in named.items():
        first, _, rest = name.partition(".")
        groups.setdefault(int(first), {})[rest or "-"] = value
    return tuple(_nested(groups[k]) for k in sorted(groups))
