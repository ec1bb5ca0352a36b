"""`numrnn.fit`: from data to a trained model."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from numrnn import _threads
from numrnn._errors import explain, kind_of
from numrnn._files import read_path
from numrnn._types import ArrayLike
from numrnn.callbacks import Callback
from numrnn.nn.arguments import count, flag, not_yet, number, recomputation, seed_number
from numrnn.nn.model import SequenceModel
from numrnn.nn.reversed import Reversed
from numrnn.optim import Optimizer, ReduceOnPlateau, WarmupCosine
from numrnn.training.data import Data, layers_of
from numrnn.training.history import History
from numrnn.training.progress import announce_compilation, make_progress
from numrnn.training.run import Options, Run

__all__ = ["fit"]


def fit(
    model: SequenceModel,
    x: Any,
    y: Any,
    *,
    loss: Callable[..., tuple[float, Any]],
    optimizer: Any,
    epochs: int,
    batch_size: int = 32,
    lengths: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    schedule: Any = None,
    validation: Sequence[Any] | None = None,
    callbacks: Sequence[Any] = (),
    progress: bool | str = "auto",
    seed: int | None = None,
    bptt_steps: int | None = None,
    recompute: bool | int | None = None,
    max_norm: float | None = None,
    n_threads: int | None = None,
    checkpoint_path: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> History:
    """Train a model by mini-batches.

    Parameters
    ----------
    model : SequenceModel
        Its weights are changed, through the optimiser.
    x : array (T, N, I), or (N, T, I) if the layers are batch_first; or a list of (T_n, I) arrays
        Also one sequence (T, I), or a packed sequence. Padded steps may hold NaN.
    y : array (N, ...), or with the steps of x if `readout_on="every"`
        What `loss` compares with predictions: numbers in the prediction's shape, or class labels. For a list x and
        `readout_on="every"` a list of (T_n, ...) arrays.
    loss : callable
        `loss(prediction, target, weight=None) -> (value, d_prediction)`, a weighted mean: those of `numrnn.losses`, or
        `functools.partial` of them. `weight` is passed where there are sample weights or padded steps.
    optimizer : SGD, RMSprop, Adam or AdamW
        Of `numrnn.optim`, made for this model.
    epochs : int
        Passes over all rows; of a resumed run, together with those of the run before.
    batch_size : int
        Rows of a batch; the last one of an epoch may be smaller.
    lengths : array of int (N,), optional
        Steps of each row of an array x; the rest is padding.
    sample_weight : array (N,), optional
        One a row, 0 or more: what it counts in the mean loss of its batch. Where nothing counts, no step is taken.
    schedule : WarmupCosine or ReduceOnPlateau, optional
        Of `numrnn.optim`; moved on after each step of the optimiser, of which a batch has several with `bptt_steps`, or
        after each epoch, as it says.
    validation : (x, y), (x, y, lengths) or (x, y, lengths, sample_weight), optional
        Data whose loss is computed after each epoch, without dropout.
    callbacks : sequence of Callback
        Of `numrnn.callbacks`, or your own.
    progress : "auto" or bool
        Whether to tell on stderr: "auto" and True are a tqdm bar on a terminal or in a notebook where tqdm is
        installed, otherwise a line every few seconds with an estimate of the time left; False is silence.
    seed : int, optional
        Of the order of rows and of dropout; None draws one, which `history.seed` tells. The same seed gives the same
        weights, bit for bit, with any number of threads.
    bptt_steps : int, optional
        Truncated back-propagation through time. With `readout_on="every"` each batch is trained in pieces of so many
        steps, one after the other, with a step of the optimiser after each; the state is carried from piece to piece
        and gradients are not. With "last" gradients reach back so many steps from the end. Memory is that of a piece.
    recompute : bool or int, optional
        As in `model.vjp`: exact gradients in less memory for about a third more time.
    max_norm : float, optional
        Clip gradients to this global norm; the history then has "gradient_norm".
    n_threads : int, optional
        1 or more, or -1 for all; None is the package's setting. Results do not depend on it.
    checkpoint_path : path, optional
        A safetensors file that is written after each epoch, once a minute between, and when the run is interrupted or
        fails. It holds the weights, the optimiser, the schedule, callbacks, the history and the place in the epoch.
    resume : bool
        Whether to continue from `checkpoint_path` if that file exists, with the bits of a run that was not interrupted.
        Data and arguments must be those of the first run; `epochs` may be more.

    Returns
    -------
    History
        `history["loss"]` and others, one number an epoch.

    Raises
    ------
    ValueError
        Arguments or data that do not fit together; a loss or gradient that is NaN or infinite, unless a callback stops
        the run. The weights then are those after the last good batch.
    TypeError
        An argument of the wrong kind.
    ImportError
        `checkpoint_path` without safetensors.
    NotImplementedError
        `bptt_steps` with `readout_on` "mean" or "max", with "last" and rows of different lengths, with
        `learn_initial_state`, or with layers of two directions.

    Notes
    -----
    Rows are shuffled anew in each epoch; where they differ in length, rows of like length go into one batch. Ctrl-C
    ends the run after the present batch: `fit` returns the history, whose `stopped` is "interrupted", and the model is
    usable; a second Ctrl-C raises KeyboardInterrupt. The gradient of x is not computed.

    Truncated back-propagation: Williams & Peng 1990, Neural Computation 2(4).

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((20, 64, 1))
    >>> model = numrnn.SequenceModel(numrnn.GRU(1, 8, seed=0), numrnn.Linear(8, 1, seed=0))
    >>> adam = numrnn.optim.Adam(model, lr=0.02)
    >>> history = numrnn.fit(
    ...     model, x, x.mean(axis=0), loss=numrnn.losses.mse, optimizer=adam, epochs=10, seed=0, progress=False
    ... )
    >>> history["loss"][-1] < 0.5 * history["loss"][0]
    True
    """
    _check_model(model, optimizer)
    if not callable(loss):
        raise TypeError(explain("fit", f"`loss` should be a function, got {kind_of(loss)}.", "Pass numrnn.losses.mse."))
    data = Data("fit", model, (x, y, lengths, sample_weight), ("x", "y", "lengths", "sample_weight"))
    length = None if bptt_steps is None else count("fit", "bptt_steps", bptt_steps)
    if length is not None:
        _check_truncation(model, data)
    given_seed = seed_number("fit", seed)
    options = Options(
        loss=loss,
        epochs=count("fit", "epochs", epochs, least=0),
        batch_size=count("fit", "batch_size", batch_size),
        schedule=_read_schedule(schedule, optimizer),
        bptt_steps=length,
        recompute=recomputation("fit", recompute, False),
        max_norm=_read_max_norm(max_norm),
        n_threads=_threads.resolve(n_threads),
        checkpoint_path=None if checkpoint_path is None else read_path("fit", "checkpoint_path", checkpoint_path),
    )
    flag("fit", "resume", resume)
    if resume and options.checkpoint_path is None:
        raise ValueError(explain("fit", "`resume` is True, but `checkpoint_path` is None.", "Pass the file's path."))
    if not isinstance(progress, bool) and progress != "auto":
        raise ValueError(explain("fit", f'`progress` should be "auto", True or False, got {kind_of(progress)}.'))
    run = Run(
        model=model,
        optimizer=optimizer,
        history=History(_draw_seed() if given_seed is None else given_seed),
        data=data,
        validation=_read_validation(model, data, validation),
        options=options,
        callbacks=_read_callbacks(callbacks),
        progress=make_progress(False, "fit", options.epochs),
    )
    if resume:
        run.resume(given_seed)
    if progress is not False:
        announce_compilation({layer.signature.cell for layer in layers_of(model)})
        run.progress = make_progress(progress, "fit", options.epochs, run.epoch)
    with _ctrl_c(run, said=progress is not False):
        run.train()
    return run.history


def _check_model(model: object, optimizer: Any) -> None:
    if not isinstance(model, SequenceModel):
        advice = 'Put a layer into one, with or without a head: SequenceModel(layer, None, readout_on="every").'
        raise TypeError(explain("fit", f"`model` should be a SequenceModel, got {kind_of(model)}.", advice))
    if not isinstance(optimizer, Optimizer):
        advice = "Pass an instance: numrnn.optim.Adam(model, lr=1e-3)."
        raise TypeError(explain("fit", f"`optimizer` should be an optimiser, got {kind_of(optimizer)}.", advice))
    if optimizer.model is not model:
        raise ValueError(explain("fit", "`optimizer` was made for another model.", "Make one for this: Adam(model)."))


def _check_truncation(model: SequenceModel, data: Data) -> None:
    if model.readout_on in ("mean", "max"):
        reason = f"the head reads the {model.readout_on} of all steps"
        raise not_yet("fit", "bptt_steps", reason, "Pass recompute=True, which saves memory and keeps gradients exact.")
    if model.readout_on == "last" and data.ragged:
        reason = "rows of different lengths do not end together"
        raise not_yet("fit", "bptt_steps", reason, "Pass recompute=True, which saves memory and keeps gradients exact.")
    if model.learn_initial_state:
        reason = "later pieces begin with a state that is carried, and say nothing of the one that is learned"
        raise not_yet("fit", "bptt_steps", f"with learn_initial_state {reason}", "Pass recompute=True instead.")
    if any(isinstance(layer, Reversed) for layer in layers_of(model)):
        problem = "`bptt_steps` with a reversed layer: it begins at the end of the sequence."
        raise NotImplementedError(explain("fit", problem, "Pass recompute=True."))
    if any(layer.signature.num_directions == 2 for layer in layers_of(model)):
        problem = "`bptt_steps` with a bidirectional layer: its reverse half begins at the end of the sequence."
        raise NotImplementedError(explain("fit", problem, "Pass recompute=True, or make it with bidirectional=False."))


def _read_max_norm(max_norm: object) -> float | None:
    if max_norm is None:
        return None
    limit = number("fit", "max_norm", max_norm)
    if limit <= 0.0:
        raise ValueError(explain("fit", f"`max_norm` should be more than 0, got {limit}."))
    return limit


def _read_schedule(schedule: Any, optimizer: Any) -> Any:
    if schedule is None:
        return None
    if not isinstance(schedule, WarmupCosine | ReduceOnPlateau):
        advice = "Pass an instance of numrnn.optim.WarmupCosine or ReduceOnPlateau."
        raise TypeError(explain("fit", f"`schedule` should be a schedule, got {kind_of(schedule)}.", advice))
    if schedule.optimizer is not optimizer:
        raise ValueError(explain("fit", "`schedule` was made for another optimiser."))
    return schedule


def _read_validation(model: SequenceModel, data: Data, validation: Any) -> Data | None:
    if validation is None:
        return None
    if not isinstance(validation, tuple | list) or not 2 <= len(validation) <= 4:
        problem = f"`validation` should be a tuple, got {kind_of(validation)}."
        advice = "Pass (x, y), (x, y, lengths) or (x, y, lengths, sample_weight)."
        raise TypeError(explain("fit", problem, advice))
    given = (*validation, None, None)[:4]
    read = Data("fit", model, given, [f"validation[{k}]" for k in range(4)])
    if read.n_features != data.n_features:
        problem = f"`validation[0]` has {read.n_features} features, `x` {data.n_features}."
        raise ValueError(explain("fit", problem))
    return read


def _read_callbacks(callbacks: Any) -> list[Callback]:
    if isinstance(callbacks, Callback):
        callbacks = [callbacks]
    read = [] if callbacks is None else list(callbacks)
    for callback in read:
        if not isinstance(callback, Callback):
            advice = "Derive yours from numrnn.callbacks.Callback, and pass an instance."
            raise TypeError(explain("fit", f"`callbacks` should hold Callbacks, got {kind_of(callback)}.", advice))
    return read


def _draw_seed() -> int:
    return int(np.random.SeedSequence().generate_state(1)[0])


@contextlib.contextmanager
def _ctrl_c(run: Run, *, said: bool) -> Iterator[None]:
    """Let the first Ctrl-C end the run after the present batch; the second does what it did before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(_signal: int, _frame: object) -> None:
        run.interrupt()
        signal.signal(signal.SIGINT, before)
        if said:
            print("fit: ends after this batch; Ctrl-C again stops at once", file=sys.stderr, flush=True)

    if before is None:  # a handler that is not Python's: it could not be put back
        yield
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
