"""How much of a gradient arrives at each time step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numrnn._errors import explain, kind_of
from numrnn.engine.arrays import real_array
from numrnn.nn.arguments import choice, not_yet
from numrnn.nn.model import SequenceModel
from numrnn.nn.pullback import Pullback
from numrnn.nn.recurrent import Recurrent
from numrnn.nn.results import Result
from numrnn.nn.selection import select
from numrnn.training.data import layers_of

__all__ = ["norms_over_time"]

_HEAD = "plot.norms_over_time"
_SEED = 0  # of dropout masks, the same for both kinds of gradient


def norms_over_time(
    model: SequenceModel, x: ArrayLike, y: ArrayLike, *, loss: Callable[..., tuple[float, Any]], of: str = "h"
) -> NDArray[np.float64]:
    """Compute the norm of a loss's gradient at each time step of a batch, for `gradient_norms` to draw.

    Parameters
    ----------
    model : SequenceModel
        Its weights stay as they are.
    x : array (T, N, I), or (N, T, I) if the layers are batch_first
        A batch; or one sequence (T, I).
    y : array
        What `loss` compares with the model's predictions of x.
    loss : callable
        `loss(prediction, target) -> (value, d_prediction)`: those of `numrnn.losses`.
    of : {"h", "x"}
        The gradient with respect to what: "h" is h_t, the top layer's hidden state after step t, with all that depends
        on it; "x" is x_t, the input at step t.

    Returns
    -------
    array (T,) of float64
        The Euclidean norm over the batch and the units, or the features.

    Raises
    ------
    ValueError, TypeError
        A model or arrays that do not fit together, as in a call of the model.
    NotImplementedError
        `of="h"` with a bidirectional layer, whose halves run against each other.

    Notes
    -----
    For "h" the layers run forward and backward one step a call: slower than a training step, and no more memory.
    Layers with dropout have masks of a fixed seed.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> model = numrnn.SequenceModel(numrnn.RNN(1, 8, seed=0), numrnn.Linear(8, 1, seed=0))
    >>> norms = numrnn.plot.norms_over_time(model, np.ones((30, 4, 1)), np.ones((4, 1)), loss=numrnn.losses.mse)
    >>> norms.shape, bool(norms[0] < 1e-3 * norms[-1])
    ((30,), True)
    """
    if not isinstance(model, SequenceModel):
        raise TypeError(explain(_HEAD, f"`model` should be a SequenceModel, got {kind_of(model)}."))
    choice(_HEAD, "of", of, ("h", "x"))
    layers = layers_of(model)
    time = 1 if layers[0].batch_first else 0
    batch = real_array(x, _HEAD, "x")
    if batch.ndim == 2:
        batch, y = np.expand_dims(batch, 1 - time), np.expand_dims(y, 1 - time if model.readout_on == "every" else 0)
    if batch.ndim != 3:
        problem = f"`x` has {batch.ndim} axes, expected 3, or 2 of one sequence."
        raise ValueError(explain(_HEAD, problem, f"x.shape = {batch.shape}."))
    if of == "x":
        prediction, pullback = model.vjp(batch, seed=_SEED)
        return _norms(pullback(loss(prediction, y)[1]).x, time)
    forward = tuple(layer for layer in layers if isinstance(layer, Recurrent))
    if len(forward) < len(layers):
        raise not_yet(_HEAD, 'of="h"', "a reversed layer runs against the order of time", 'Pass of="x".')
    if any(layer.bidirectional for layer in forward):
        raise not_yet(_HEAD, 'of="h"', "the halves of a bidirectional layer run against each other", 'Pass of="x".')
    steps = np.split(batch, batch.shape[time], axis=time) if batch.shape[time] else []
    tops, pullbacks = _forward(forward, steps, _first_states(model))
    return _backward(pullbacks, _cotangents(model, tops, y, loss, time), time)


def _first_states(model: SequenceModel) -> list[Any]:
    """What each layer begins with: None, which is zero, or what the model learned."""
    layers = layers_of(model)
    if not model.learn_initial_state:
        return [None] * len(layers)
    learned = model.parameters
    prefixes = [
        f"initial_state.{k}." if isinstance(model.recurrent, tuple) else "initial_state." for k in range(len(layers))
    ]
    states = [
        tuple(learned[prefix + name] for name in ("h_0", "c_0") if prefix + name in learned) for prefix in prefixes
    ]
    return [state if len(state) == 2 else state[0] for state in states]


def _forward(
    layers: tuple[Recurrent, ...], steps: list[NDArray[Any]], states: list[Any]
) -> tuple[list[Any], list[list[Pullback]]]:
    """Run one step a call; return the top layer's results, and every step's pullbacks from the first layer on."""
    tops: list[Any] = []
    pullbacks: list[list[Pullback]] = []
    for t, piece in enumerate(steps):
        pullbacks.append([])
        for k, layer in enumerate(layers):
            result, pullback = layer.vjp(piece, states[k], seed=_SEED, t0=t)
            piece, states[k] = result.output, result.state
            pullbacks[-1].append(pullback)
        tops.append(result)
    return tops, pullbacks


def _cotangents(model: SequenceModel, tops: list[Any], y: Any, loss: Callable[..., Any], time: int) -> Any:
    """Return the loss's own gradient with respect to each h_t, through the head alone; as the output's axes stand."""
    top = layers_of(model)[-1]
    whole = Result(np.concatenate([result.output for result in tops], axis=time), tops[-1].h_n, None)
    selection = select(whole, model.readout_on, top, None)
    if model.readout is None:
        return _spread(selection, loss(selection.prediction(selection.rows), y)[1], whole, time)
    prediction, pullback = model.readout.vjp(selection.rows)
    d_prediction = loss(selection.prediction(prediction), y)[1]
    return _spread(selection, pullback(d_prediction).x, whole, time)


def _spread(selection: Any, d_rows: Any, whole: Result, time: int) -> Any:
    given = selection.cotangents(np.asarray(d_rows))
    d_output = np.zeros_like(whole.output) if given.get("d_output") is None else np.array(given["d_output"])
    if given.get("d_h_n") is not None:
        np.moveaxis(d_output, time, 0)[-1] += given["d_h_n"][-1]
    return d_output


def _backward(pullbacks: list[list[Pullback]], d_output: Any, time: int) -> NDArray[np.float64]:
    """Go back a step a call, and note the norm of the gradient of the top layer's h_t on the way."""
    norms = np.zeros(len(pullbacks))
    d_states: list[tuple[Any, Any]] = [(None, None)] * (len(pullbacks[0]) if pullbacks else 0)
    for t in reversed(range(len(pullbacks))):
        d_top = d_output.take([t], axis=time)
        d_h, d_c = d_states[-1]
        arrived = np.squeeze(d_top, time) if d_h is None else np.squeeze(d_top, time) + d_h[-1]
        norms[t] = np.linalg.norm(arrived.astype(np.float64))
        for k in reversed(range(len(d_states))):
            d_h, d_c = d_states[k]
            cell = {} if d_c is None else {"d_c_n": d_c}
            gradients = pullbacks[t][k](d_top, d_h, **cell, x_gradient=k > 0)
            d_states[k], d_top = (gradients.h_0, gradients.c_0), gradients.x
    return norms


def _norms(gradient: Any, time: int) -> NDArray[np.float64]:
    steps = np.moveaxis(np.asarray(gradient, np.float64), time, 0)
    norms: NDArray[np.float64] = np.linalg.norm(steps.reshape(len(steps), -1), axis=1)
    return norms
