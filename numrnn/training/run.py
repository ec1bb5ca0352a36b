"""A training run: where it stands, and how it moves from one batch to the next."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np

from numrnn._errors import explain
from numrnn.callbacks import Callback
from numrnn.losses.classes import counted, cross_entropy
from numrnn.nn.gradients import Gradients
from numrnn.nn.model import SequenceModel
from numrnn.optim import clip_by_global_norm
from numrnn.training.checkpoint import Checkpoints
from numrnn.training.data import Batch, Data, batches_of, layers_of
from numrnn.training.history import History
from numrnn.training.progress import Progress

__all__ = ["Options", "Place", "Run", "Sums"]

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
class Sums:
    """What an epoch adds up."""

    loss: float = 0.0
    weight: float = 0.0
    norm: float = 0.0
    steps: int = 0
    seconds: float = 0.0

    def row(self) -> dict[str, float]:
        """The epoch's means."""
        return {"loss": self.loss / self.weight if self.weight else math.nan}


@dataclass(slots=True)
class Place:
    """How far a run has come."""

    epoch: int = 0
    batch: int = 0
    chunk: int = 0
    """First step of the next piece of the present batch."""

    carried: Any = None
    """The state after the last piece."""

    sums: Sums = field(default_factory=Sums)


@final
@dataclass(slots=True)
class Run:
    """Where a training run stands; callbacks are given it.

    Attributes
    ----------
    model, optimizer, history
        What is trained, by what, and what was recorded.
    loss : float
        Of the last batch, before its step.
    interrupted : bool
        Whether Ctrl-C ended the run.
    resumed : bool
        Whether the run goes on from a file.
    """

    model: SequenceModel
    optimizer: Any
    history: History
    data: Data
    validation: Data | None
    options: Options
    callbacks: Sequence[Callback]
    progress: Progress
    place: Place = field(default_factory=Place)
    loss: float = math.nan
    interrupted: bool = False
    resumed: bool = False
    problem: str = ""
    _checkpoints: Checkpoints | None = None
    _settled: bool = False  # weights, optimiser and place belong together, and to this run
    _has_dropout: bool = True

    def __post_init__(self) -> None:
        self._has_dropout = any(layer.dropout > 0.0 for layer in layers_of(self.model))
        if self.options.checkpoint_path is not None:
            self._checkpoints = Checkpoints(self.options.checkpoint_path)

    @property
    def epoch(self) -> int:
        """Whole epochs that are done."""
        return self.place.epoch

    @property
    def batch(self) -> int:
        """Batches of the present epoch that are done."""
        return self.place.batch

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

    def resume(self, seed: int | None) -> None:
        """Continue where the run stood that wrote the checkpoint, if there is one."""
        if self._checkpoints is not None and self._checkpoints.exists():
            self._checkpoints.read(self, seed)
            self.resumed = self._settled = True

    def train(self) -> None:
        """Run until the last epoch, or until something stops it."""
        try:
            self._tell("on_start")
            while self.epoch < self.options.epochs and not self._stopped:
                self._train_epoch()
        except BaseException:
            self._save()
            raise
        finally:
            self.progress.close()
        if self.interrupted:
            self._save()
        self._tell("on_end")

    def _train_epoch(self) -> None:
        place = self.place
        order = np.random.default_rng([self.history.seed, place.epoch])
        batches = list(batches_of(self.data, self.options.batch_size, order))
        start = time.perf_counter() - place.sums.seconds
        for rows in batches[place.batch :]:
            for last in self._train_batch(self.data.take(rows), rows):
                place.sums.seconds = time.perf_counter() - start
                if last:
                    place.batch += 1
                self._settled = True
                if last:
                    self.progress.batch(place.batch, len(batches), place.epoch + 1, self.loss)
                self._tell("on_batch_end")
                if self._stopped:
                    break
                if self._checkpoints is not None and self._checkpoints.age > _SECONDS_BETWEEN_SAVES:
                    self._save()
            if self._stopped:
                break
        if place.batch < len(batches):
            return
        row = place.sums.row()
        if self.validation is not None:
            row["val_loss"] = self._validate(self.validation)
        if self.options.max_norm is not None:
            row["gradient_norm"] = place.sums.norm / max(1, place.sums.steps)
        self._settled = False
        schedule = self.options.schedule
        if schedule is not None and schedule.every == "epoch":
            schedule.step(row.get("val_loss", row["loss"]))
        row |= {"lr": self.optimizer.lr, "seconds": time.perf_counter() - start}
        self.history._append(row)
        self.place = Place(place.epoch + 1)
        self._settled = True
        self.progress.epoch(self.epoch, row)
        self._tell("on_epoch_end")
        self._save()

    def _train_batch(self, batch: Batch, rows: Any) -> Iterator[bool]:
        """Train on a batch, in pieces of time where that is wanted; yields after each step whether it was the last."""
        steps, length, place = self.data.n_steps(batch), self.options.bptt_steps, self.place
        if length is None or steps <= length:
            if self._step(batch, None, 0, rows):
                place.carried = None
                yield True
        elif self.model.readout_on == "last":
            state = None
            for begin in range(0, steps - length, length):  # forward alone, a piece at a time
                end = min(begin + length, steps - length)
                state = self._run(self.data.part(batch, begin, end, y=False), state, begin)[0][1]
            if self._step(self.data.part(batch, steps - length, steps, y=False), state, steps - length, rows):
                yield True
        else:
            for begin in range(place.chunk, steps, length):
                end = min(begin + length, steps)
                if not self._step(self.data.part(batch, begin, end), place.carried, begin, rows):
                    return
                place.chunk = end
                if end == steps:
                    place.chunk, place.carried = 0, None
                yield end == steps

    def _run(self, batch: Batch, state: Any, t0: int) -> Any:
        """The model's `vjp`, with the masks of this batch: ((prediction, state), pullback)."""
        return self.model.vjp(
            batch.x,
            state,
            lengths=batch.lengths,
            return_state=True,
            seed=self._mask_seed(),
            t0=t0,
            recompute=self.options.recompute,
            n_threads=self.options.n_threads,
        )

    def _step(self, batch: Batch, state: Any, t0: int, rows: Any) -> bool:
        """One step of the optimiser; False where the loss or a gradient is not finite and none was taken."""
        options, sums = self.options, self.place.sums
        total = _total(options.loss, batch)
        carries = options.bptt_steps is not None and self.model.readout_on == "every"
        if not total and not carries:
            return True  # nothing in it counts
        (prediction, after), pullback = self._run(batch, state, t0)
        if not total:
            self.place.carried = after
            return True
        try:
            value, d_prediction = _loss(options.loss, prediction, batch)
        except (ValueError, TypeError) as error:
            error.add_note(f"In epoch {self.epoch + 1}, batch {self.batch + 1}: rows {rows.tolist()} of the data.")
            raise
        gradients: Gradients = pullback(d_prediction, x_gradient=False)
        norm = 0.0
        if options.max_norm is not None:
            trained = {name: gradients.parameters[name] for name in self.optimizer.trained}
            gradients, norm = clip_by_global_norm(replace(gradients, parameters=trained), options.max_norm)
        if not math.isfinite(value):
            self._refuse(value)
            return False
        self._settled = False
        try:
            self.optimizer.step(gradients)
        except ValueError:
            self._settled = True
            if _finite(gradients):
                raise
            self._refuse(value)
            return False
        self.loss = value
        self.place.carried = after if carries else None
        sums.loss += value * total
        sums.weight += total
        sums.norm += norm
        sums.steps += 1
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
                counts = _total(options.loss, piece)
                if counts:
                    total += _loss(options.loss, prediction, piece)[0] * counts
                    weight += counts
        return total / weight if weight else math.nan

    def _tell(self, event: str) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self)

    def _save(self) -> None:
        """Write the checkpoint, if one is wanted and there is something whole to write."""
        if self._checkpoints is not None and self._settled:
            self._checkpoints.write(self)


def _loss(loss: Callable[..., tuple[float, Any]], prediction: Any, batch: Batch) -> tuple[float, Any]:
    if batch.weight is None:
        return loss(prediction, batch.y)
    return loss(prediction, batch.y, weight=batch.weight)


def _total(loss: Callable[..., tuple[float, Any]], batch: Batch) -> float:
    """What the loss of a batch divides by; 0 where nothing in it counts."""
    settings: dict[str, Any] = {}
    while isinstance(loss, partial):
        settings = loss.keywords | settings
        loss = loss.func
    if loss is not cross_entropy or not batch.total:
        return batch.total
    return counted(batch.y, weight=batch.weight, **settings)


def _finite(gradients: Gradients) -> bool:
    return all(bool(np.isfinite(value).all()) for value in gradients.parameters.values())
