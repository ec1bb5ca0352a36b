"""A training run: where it stands, and how it moves from one batch to the next."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn._files import read_arrays, write_arrays
from numrnn.callbacks import Callback
from numrnn.nn.gradients import Gradients
from numrnn.nn.model import SequenceModel
from numrnn.optim import clip_by_global_norm
from numrnn.training.data import Batch, Data, batches_of, layers_of
from numrnn.training.history import History
from numrnn.training.progress import Progress

__all__ = ["Options", "Run"]

_FORMAT = "training"
_SECONDS_BETWEEN_SAVES = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the arguments of `fit` say of how to train."""

    loss: Callable[..., tuple[float, Any]]
    epochs: int
    batch_size: int
    schedule: Any
    bptt_steps: int | None
    recompute: bool | int | None
    max_norm: float | None
    n_threads: int | None
    checkpoint_path: Path | None


@dataclass(slots=True)
class _Sums:
    """What an epoch adds up."""

    loss: float = 0.0
    weight: float = 0.0
    norm: float = 0.0
    steps: int = 0
    seconds: float = 0.0

    def row(self) -> dict[str, float]:
        """The epoch's means."""
        return {"loss": self.loss / self.weight if self.weight else math.nan}


@final
@dataclass(slots=True)
class Run:
    """Where a training run stands; callbacks are given it.

    Attributes
    ----------
    model, optimizer, history
        What is trained, by what, and what was recorded.
    epoch : int
        Whole epochs that are done.
    batch : int
        Batches of the present epoch that are done.
    loss : float
        Of the last batch, before its step.
    interrupted : bool
        Whether Ctrl-C ended the run.
    """

    model: SequenceModel
    optimizer: Any
    history: History
    data: Data
    validation: Data | None
    options: Options
    callbacks: Sequence[Callback]
    progress: Progress
    epoch: int = 0
    batch: int = 0
    loss: float = math.nan
    interrupted: bool = False
    problem: str = ""
    _chunk: int = 0  # first step of the next piece of the present batch
    _carried: Any = None  # the state after the last piece
    _sums: _Sums = field(default_factory=_Sums)
    _saved: float = 0.0
    _has_dropout: bool = True

    def __post_init__(self) -> None:
        self._has_dropout = any(layer.dropout > 0.0 for layer in layers_of(self.model))

    def stop(self, reason: str) -> None:
        """End the run after the present batch or epoch; `reason` becomes `history.stopped`."""
        self.history.stopped = reason

    def interrupt(self) -> None:
        """End the run after the present batch."""
        self.interrupted = True
        self.stop("interrupted")

    @property
    def _stopped(self) -> bool:
        return self.history.stopped is not None

    def train(self) -> None:
        """Run until the last epoch, or until something stops it."""
        self._saved = time.perf_counter()
        try:
            self._tell("on_start")
            while self.epoch < self.options.epochs and not self._stopped:
                self._train_epoch()
        except BaseException:
            self._save()  # weights and optimiser change together, so this is the end of the last batch
            raise
        finally:
            self.progress.close()
        if self.interrupted:
            self._save()
        self._tell("on_end")

    def _train_epoch(self) -> None:
        order = np.random.default_rng([self.history.seed, self.epoch])
        batches = list(batches_of(self.data, self.options.batch_size, order))
        start = time.perf_counter() - self._sums.seconds
        for rows in batches[self.batch :]:
            for last in self._train_batch(self.data.take(rows)):
                self._sums.seconds = time.perf_counter() - start
                if last:
                    self.batch += 1
                    self.progress.batch(self.batch, len(batches), self.epoch + 1, self.loss)
                self._tell("on_batch_end")
                if self._stopped:
                    break
                if time.perf_counter() - self._saved > _SECONDS_BETWEEN_SAVES:
                    self._save()
            if self._stopped:
                break
        if self.batch < len(batches):
            return
        row = self._sums.row()
        if self.validation is not None:
            row["val_loss"] = self._validate(self.validation)
        if self.options.max_norm is not None:
            row["gradient_norm"] = self._sums.norm / max(1, self._sums.steps)
        schedule = self.options.schedule
        if schedule is not None and schedule.every == "epoch":
            schedule.step(row.get("val_loss", row["loss"]))
        row |= {"lr": self.optimizer.lr, "seconds": time.perf_counter() - start}
        self.history._append(row)
        self.epoch, self.batch, self._sums = self.epoch + 1, 0, _Sums()
        self.progress.epoch(self.epoch, row)
        self._tell("on_epoch_end")
        self._save()

    def _train_batch(self, batch: Batch) -> Iterator[bool]:
        """Train on a batch, in pieces of time where that is wanted; yields after each step whether it was the last."""
        steps, length = self.data.n_steps(batch), self.options.bptt_steps
        if length is None or steps <= length:
            if self._step(batch, None, 0):
                self._carried = None
                yield True
            return
        if self.model.readout_on == "last":
            first = steps - length
            cut = (slice(None),) * self.data.time_axis
            _, state = self.model(batch.x[(*cut, slice(first))], return_state=True, n_threads=self.options.n_threads)
            if self._step(batch._replace(x=batch.x[(*cut, slice(first, None))]), state, first):
                yield True
            return
        for begin in range(self._chunk, steps, length):
            end = min(begin + length, steps)
            if not self._step(self.data.part(batch, begin, end), self._carried, begin):
                return
            self._chunk = end
            if end == steps:
                self._chunk, self._carried = 0, None
            yield end == steps

    def _step(self, batch: Batch, state: Any, t0: int) -> bool:
        """One step of the optimiser; False where the loss or a gradient is not finite and none was taken."""
        options = self.options
        (prediction, after), pullback = self.model.vjp(
            batch.x,
            state,
            lengths=batch.lengths,
            return_state=True,
            seed=self._mask_seed(),
            t0=t0,
            recompute=options.recompute,
            n_threads=options.n_threads,
        )
        value, d_prediction = _loss(options.loss, prediction, batch)
        gradients: Gradients = pullback(d_prediction, x_gradient=False)
        norm = 0.0
        if options.max_norm is not None:
            gradients, norm = clip_by_global_norm(gradients, options.max_norm)
        if not math.isfinite(value):
            self._refuse(value)
            return False
        try:
            self.optimizer.step(gradients)
        except ValueError:
            if _finite(gradients):
                raise
            self._refuse(value)
            return False
        self.loss = value
        self._carried = after if options.bptt_steps is not None and self.model.readout_on == "every" else None
        self._sums.loss += value * batch.total
        self._sums.weight += batch.total
        self._sums.norm += norm
        self._sums.steps += 1
        schedule = options.schedule
        if schedule is not None and schedule.every == "batch":
            schedule.step()
        return True

    def _refuse(self, value: float) -> None:
        what = "a gradient became NaN or infinite" if math.isfinite(value) else f"the loss became {value}"
        self.problem = f"{what} in epoch {self.epoch + 1}, batch {self.batch + 1}"
        self._tell("on_not_finite")
        if not self._stopped:
            advice = "The weights are those before that batch. Look for NaN in x and y, lower lr, or pass max_norm."
            raise ValueError(explain("fit", f"{self.problem}.", advice, "callbacks.StopOnNaN() ends the run instead."))

    def _mask_seed(self) -> int:
        """The seed of dropout masks in the present batch; any, where there is no dropout."""
        if not self._has_dropout:
            return 0
        drawn = np.random.SeedSequence([self.history.seed, self.epoch, self.batch]).generate_state(1, np.uint64)
        return int(drawn[0] >> np.uint64(1))

    def _validate(self, data: Data) -> float:
        """The mean loss over validation data, in pieces of time where training has them."""
        options = self.options
        total = weight = 0.0
        for rows in batches_of(data, options.batch_size, None):
            batch, state = data.take(rows), None
            steps = data.n_steps(batch)
            length = steps
            if options.bptt_steps is not None and self.model.readout_on == "every":
                length = options.bptt_steps
            for begin in range(0, steps, length) if steps > length else (0,):
                piece = batch if steps <= length else data.part(batch, begin, min(begin + length, steps))
                prediction, state = self.model(
                    piece.x, state, lengths=piece.lengths, return_state=True, n_threads=options.n_threads
                )
                if piece.total:
                    total += _loss(options.loss, prediction, piece)[0] * piece.total
                    weight += piece.total
        return total / weight

    def _tell(self, event: str) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self)

    def _save(self) -> None:
        """Write the checkpoint, if one is wanted."""
        path = self.options.checkpoint_path
        if path is None:
            return
        parts: dict[str, Mapping[str, NDArray[Any]]] = {
            "model": self.model.parameters,
            "optimizer": self.optimizer.state_dict(),
            "schedule": {} if self.options.schedule is None else self.options.schedule.state_dict(),
            "carried": dict(enumerate_arrays(self._carried)),
            **{f"callback{k}": callback.state_dict() for k, callback in enumerate(self.callbacks)},
        }
        arrays = {f"{part}/{name}": np.asarray(value) for part, held in parts.items() for name, value in held.items()}
        description = {
            "format": _FORMAT,
            "version": 1,
            "of": self._identity(),
            "epoch": self.epoch,
            "batch": self.batch,
            "chunk": self._chunk,
            "sums": [getattr(self._sums, name) for name in _Sums.__dataclass_fields__],
            "seed": self.history.seed,
            "history": {name: self.history[name] for name in self.history.keys()},  # noqa: SIM118 (no mapping)
        }
        write_arrays("fit", path, arrays, description)
        self._saved = time.perf_counter()

    def resume(self, path: Path, seed: int | None) -> None:
        """Continue where the run that wrote `path` stood."""
        arrays, description = read_arrays("fit", path, _FORMAT)
        here = self._identity()
        for name, value in description["of"].items():
            if here.get(name) != value:
                problem = f"{str(path)!r} belongs to another run: its {name} is {value}, here it is {here.get(name)}."
                raise ValueError(explain("fit", problem, "Resume with the arguments of the first run, or drop resume."))
        if seed is not None and seed != description["seed"]:
            problem = f"`seed` is {seed}, but the run in {str(path)!r} has {description['seed']}."
            raise ValueError(explain("fit", problem, "Leave it out to resume."))
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for name, value in arrays.items():
            part, _, rest = name.partition("/")
            parts.setdefault(part, {})[rest] = value
        self.model.load_state_dict(parts["model"])
        self.optimizer.load_state_dict(parts["optimizer"])
        if self.options.schedule is not None:
            self.options.schedule.load_state_dict(parts.get("schedule", {}))
        for k, callback in enumerate(self.callbacks):
            if held := parts.get(f"callback{k}"):
                callback.load_state_dict(held)
        self.epoch, self.batch, self._chunk = (description[name] for name in ("epoch", "batch", "chunk"))
        self._sums = _Sums(*description["sums"])
        self._carried = nest_arrays(parts.get("carried", {}))
        self.history = History(description["seed"], description["history"])

    def _identity(self) -> dict[str, Any]:
        """What must be alike for a run to go on."""
        options = self.options
        return {
            "model": repr(self.model),
            "optimizer": type(self.optimizer).__name__,
            "schedule": type(options.schedule).__name__,
            "callbacks": [type(callback).__name__ for callback in self.callbacks],
            "number of rows": self.data.n_rows,
            "number of steps": int(self.data.lengths.sum()),
            "batch_size": options.batch_size,
            "bptt_steps": options.bptt_steps,
        }


def _loss(loss: Callable[..., tuple[float, Any]], prediction: Any, batch: Batch) -> tuple[float, Any]:
    if batch.weight is None:
        return loss(prediction, batch.y)
    return loss(prediction, batch.y, weight=batch.weight)


def _finite(gradients: Gradients) -> bool:
    return all(bool(np.isfinite(value).all()) for value in gradients.parameters.values())


def enumerate_arrays(state: Any, prefix: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays of nested states, each named by its path: "", "0", "1.0"."""
    if isinstance(state, np.ndarray):
        yield prefix or "-", state
    elif state is not None:
        for k, part in enumerate(state):
            yield from enumerate_arrays(part, f"{prefix}.{k}" if prefix else str(k))


def nest_arrays(named: Mapping[str, NDArray[Any]]) -> Any:
    """What `enumerate_arrays` took apart."""
    if not named:
        return None
    if "-" in named:
        return named["-"]
    groups: dict[int, dict[str, NDArray[Any]]] = {}
    for name, value in named.items():
        first, _, rest = name.partition(".")
        groups.setdefault(int(first), {})[rest or "-"] = value
    return tuple(nest_arrays(groups[k]) for k in sorted(groups))
