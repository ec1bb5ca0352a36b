"""What may look on and interfere while `numrnn.fit` trains."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain, kind_of
from numrnn._files import read_path
from numrnn.interop.saving import save
from numrnn.nn.arguments import choice, count, flag, number

if TYPE_CHECKING:
    from numrnn.training.run import Run

__all__ = ["Callback", "Checkpoint", "EarlyStopping", "StopOnNaN"]


class Callback:
    """Something that `fit` calls; override what is wanted.

    Every method is given the run: `run.model`, `run.optimizer`, `run.history`, `run.epoch` (epochs that are done),
    `run.loss` (of the batch), `run.stop(reason)`.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> class Halve(numrnn.callbacks.Callback):
    ...     def on_epoch_end(self, run):
    ...         run.optimizer.lr *= 0.5
    >>> model = numrnn.SequenceModel(numrnn.RNN(1, 4, seed=0), numrnn.Linear(4, 1, seed=0))
    >>> adam = numrnn.optim.Adam(model, lr=0.08)
    >>> arguments = {"loss": numrnn.losses.mse, "optimizer": adam, "epochs": 3, "progress": False}
    >>> history = numrnn.fit(model, np.ones((5, 8, 1)), np.zeros((8, 1)), **arguments, callbacks=[Halve()])
    >>> adam.lr
    0.01
    """

    def on_start(self, run: Run) -> None:
        """Before the first batch, or before the first after a resumption."""

    def on_batch_end(self, run: Run) -> None:
        """After each step of the optimiser."""

    def on_epoch_end(self, run: Run) -> None:
        """After each epoch, validation included."""

    def on_not_finite(self, run: Run) -> None:
        """A loss or a gradient was NaN or infinite; no step was taken. If nothing stops the run, `fit` raises."""

    def on_end(self, run: Run) -> None:
        """After the last batch, also after Ctrl-C; not after an error."""

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """What a resumed run needs, by name."""
        return {}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `state_dict` gave."""


class _Monitor:
    """The best value so far of one list of the history."""

    def __init__(self, head: str, monitor: object, mode: object, min_delta: object) -> None:
        self._head = head
        if monitor is not None and not isinstance(monitor, str):
            raise TypeError(explain(head, f"`monitor` should be a name of the history, got {kind_of(monitor)}."))
        self.name: str | None = monitor
        self.mode = choice(head, "mode", mode, ("min", "max"))
        self.min_delta = number(head, "min_delta", min_delta)
        if self.min_delta < 0.0:
            raise ValueError(explain(head, f"`min_delta` should be 0 or more, got {self.min_delta}."))
        self.reset()

    def reset(self) -> None:
        """Forget the best value."""
        self.best = math.inf if self.mode == "min" else -math.inf

    def check(self, run: Run) -> None:
        """Refuse a run that will never record what is wanted."""
        if self.name == "val_loss" and run.validation is None:
            problem = "`monitor` is 'val_loss', and there are no validation data."
            raise ValueError(explain(self._head, problem, "Pass `validation` to fit, or leave `monitor` out."))

    def watched(self, run: Run) -> str:
        """The list of the history that is looked at."""
        return self.name or ("val_loss" if "val_loss" in run.history else "loss")

    def improved(self, run: Run) -> bool:
        """Whether the last epoch was the best so far."""
        name = self.watched(run)
        if name not in run.history:
            known = f"The history has {', '.join(run.history.keys())}."
            advice = (
                "For val_loss pass `validation` to fit." if name == "val_loss" else "Pass one of these as `monitor`."
            )
            raise ValueError(explain(self._head, f"`monitor` {name!r} is not recorded.", known, advice))
        value = run.history[name][-1]
        better = operator.lt if self.mode == "min" else operator.gt
        margin = -self.min_delta if self.mode == "min" else self.min_delta
        if not better(value, self.best + margin if math.isfinite(self.best) else self.best):
            return False
        self.best = value
        return True


@final
class EarlyStopping(Callback):
    """Stop when a quantity has not improved for some epochs, and go back to the best weights.

    Parameters
    ----------
    patience : int
        Epochs without improvement that are borne; the run stops after the next.
    monitor : str, optional
        A name of the history; None is "val_loss" where there are validation data, otherwise "loss".
    mode : {"min", "max"}
        Which values are better.
    min_delta : float
        By how much a value must be better to count.
    restore_best : bool
        Whether the weights of the best epoch are put back when the run ends, also by Ctrl-C; not after an error.

    Attributes
    ----------
    best : float
        The best value so far.
    best_epoch : int
        The epoch it belongs to, counted from 1; 0 before the first.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> model = numrnn.SequenceModel(numrnn.RNN(1, 4, seed=0), numrnn.Linear(4, 1, seed=0))
    >>> stopping = numrnn.callbacks.EarlyStopping(patience=2)
    >>> history = numrnn.fit(
    ...     model, np.ones((5, 8, 1)), np.zeros((8, 1)), loss=numrnn.losses.mse, progress=False, seed=0,
    ...     optimizer=numrnn.optim.Adam(model, lr=0.0), epochs=100, callbacks=[stopping],
    ... )
    >>> len(history), stopping.best_epoch, history.stopped
    (4, 1, 'early stopping: loss has not improved for 3 epochs')
    """

    def __init__(
        self,
        patience: int = 10,
        *,
        monitor: str | None = None,
        mode: str = "min",
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        head = "EarlyStopping"
        self.patience = count(head, "patience", patience, least=0)
        self.restore_best = flag(head, "restore_best", restore_best)
        self._monitor = _Monitor(head, monitor, mode, min_delta)
        self.best_epoch = 0
        self._weights: dict[str, NDArray[Any]] = {}

    @property
    def best(self) -> float:
        """The best value so far."""
        return self._monitor.best

    def on_start(self, run: Run) -> None:
        """Begin anew, unless the run goes on."""
        self._monitor.check(run)
        if not run.resumed:
            self._monitor.reset()
            self.best_epoch, self._weights = 0, {}

    def on_epoch_end(self, run: Run) -> None:
        """Note the weights if they are the best, stop if they have not been for long."""
        if self._monitor.improved(run):
            self.best_epoch = run.epoch
            self._weights = run.model.parameters if self.restore_best else {}
        elif (waited := run.epoch - self.best_epoch) > self.patience:
            run.stop(f"early stopping: {self._monitor.watched(run)} has not improved for {waited} epochs")

    def on_end(self, run: Run) -> None:
        """Put the best weights back."""
        if self._weights:
            run.model.set_parameters(self._weights)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The best value, its epoch and its weights."""
        numbers = {"best": np.float64(self.best), "best_epoch": np.int64(self.best_epoch)}
        return {
            **{name: np.array(value) for name, value in numbers.items()},
            **{f"weights.{name}": value for name, value in self._weights.items()},
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `state_dict` gave."""
        self._monitor.best = float(state["best"])
        self.best_epoch = int(state["best_epoch"])
        self._weights = {name.partition(".")[2]: value for name, value in state.items() if name.startswith("weights.")}


@final
class Checkpoint(Callback):
    """Save the model after epochs, as `numrnn.save` does.

    Parameters
    ----------
    path : path
        The file, replaced at once or not at all; "{epoch}" or "{epoch:03d}" in its name becomes the epoch's number.
    every : int
        After how many epochs.
    best_only : bool
        Whether only epochs count that are better than all those written or passed over before.
    monitor, mode, min_delta
        What better means, as in `EarlyStopping`.

    Raises
    ------
    ImportError
        safetensors is not installed; names the extra that brings it.
    FileNotFoundError
        The folder does not exist.

    Notes
    -----
    `numrnn.load` reads the file. To continue an interrupted run pass `checkpoint_path` to `fit`,
    which also keeps the optimiser, the schedule and the place in the epoch.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every: int = 1,
        best_only: bool = False,
        monitor: str | None = None,
        mode: str = "min",
        min_delta: float = 0.0,
    ) -> None:
        head = "Checkpoint"
        read_path(head, "path", path)
        self._path = os.fspath(path)
        try:
            self._path.format(epoch=1)
        except (KeyError, IndexError, ValueError) as error:
            problem = f"`path` {self._path!r} has braces that name no epoch."
            raise ValueError(explain(head, problem, 'Pass for example "model_{epoch:03d}.safetensors".')) from error
        self.every = count(head, "every", every)
        self.best_only = flag(head, "best_only", best_only)
        self._monitor = _Monitor(head, monitor, mode, min_delta)

    def on_start(self, run: Run) -> None:
        """Begin anew, unless the run goes on."""
        self._monitor.check(run)
        if not run.resumed:
            self._monitor.reset()

    def on_epoch_end(self, run: Run) -> None:
        """Write, if this epoch's weights are wanted."""
        if run.epoch % self.every or (self.best_only and not self._monitor.improved(run)):
            return
        path = read_path("Checkpoint", "path", self._path.format(epoch=run.epoch))
        save(run.model, path)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The best value."""
        return {"best": np.array(self._monitor.best)}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `state_dict` gave."""
        self._monitor.best = float(state["best"])


@final
class StopOnNaN(Callback):
    """Stop, instead of raising, when a loss or a gradient is NaN or infinite; the weights are those before that batch.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> model = numrnn.SequenceModel(numrnn.RNN(1, 4, seed=0), numrnn.Linear(4, 1, seed=0))
    >>> x, y = np.ones((5, 8, 1)), np.full((8, 1), np.nan)
    >>> history = numrnn.fit(
    ...     model, x, y, loss=numrnn.losses.mse, optimizer=numrnn.optim.Adam(model), epochs=5, progress=False, seed=0,
    ...     callbacks=[numrnn.callbacks.StopOnNaN()],
    ... )
    >>> history.stopped
    'the loss became nan in epoch 1, batch 1'
    """

    def on_not_finite(self, run: Run) -> None:
        """Stop the run."""
        run.stop(run.problem)
