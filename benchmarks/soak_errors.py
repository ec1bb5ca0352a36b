"""Deliberate mistakes, and what each must be refused with.

None in compiled code of a user's: there Numba does not release what an exception passes on its way out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import numrnn

__all__ = ["refusals"]

Mistake = tuple[type[Exception] | tuple[type[Exception], ...], Callable[[], object]]


def refusals(layer: numrnn.LSTM, x: np.ndarray) -> dict[str, Mistake]:
    """Mistakes with a layer of 3 features, 5 hidden units and 2 layers, and its x (7, 4, 3)."""
    result, pullback = layer.vjp(x)
    stream = layer.stream(4)
    state = result.state
    model = numrnn.SequenceModel(layer, numrnn.Linear(5, 2, seed=0))
    net, out = layer.jit(), np.zeros((4, 5), np.float32)
    states, others = numrnn.jit.new_state(net, 4), numrnn.jit.new_state(numrnn.LSTM(3, 6).jit(), 4)
    return {
        "features": (ValueError, lambda: layer(x[..., :2])),
        "axes": (ValueError, lambda: layer(x[None])),
        "complex": (TypeError, lambda: layer(x * 1j)),
        "text": (TypeError, lambda: layer(x.astype(str))),
        "objects": (TypeError, lambda: layer(x.astype(object))),
        "masked": (TypeError, lambda: layer(np.ma.masked_array(x, x > 0))),
        "no array": (TypeError, lambda: layer(None)),
        "empty list": (ValueError, lambda: layer([])),
        "rows of a list": (ValueError, lambda: layer([x[:, 0], x[:, 0, :2]])),
        "state shape": (ValueError, lambda: layer(x, (state[0][:, :2], state[1]))),
        "state kind": (TypeError, lambda: layer(x, state[0])),
        "whole result": (TypeError, lambda: layer(x, result)),
        "lengths count": (ValueError, lambda: layer(x, lengths=[1, 2])),
        "lengths range": (ValueError, lambda: layer(x, lengths=[1, 2, 3, 8])),
        "lengths kind": (TypeError, lambda: layer(x, lengths=[1.5, 2.0, 3.0, 4.0])),
        "reset kind": (TypeError, lambda: layer(x, reset=np.zeros((7, 4)))),
        "reset shape": (ValueError, lambda: layer(x, reset=np.zeros((4, 7), bool))),
        "threads": (ValueError, lambda: layer(x, n_threads=0)),
        "too many threads": (ValueError, lambda: layer(x, n_threads=10**6)),
        "threads kind": (TypeError, lambda: layer(x, n_threads=1.5)),
        "cotangent": (ValueError, lambda: pullback(result.output[:3])),
        "cotangent of state": (ValueError, lambda: pullback(None, state[0][:1])),
        "write to a result": (ValueError, lambda: result.output.__setitem__(0, 1.0)),
        "write to a weight": (ValueError, lambda: layer.parameters["bias_ih_l0"].__setitem__(0, 1.0)),
        "unknown weight": (ValueError, lambda: layer.set_parameters({"weight": x})),
        "shape of a weight": (ValueError, lambda: layer.set_parameters({"bias_ih_l0": x})),
        "missing weights": (ValueError, lambda: layer.load_state_dict({})),
        "fixed attribute": (AttributeError, lambda: setattr(layer, "hidden_size", 7)),
        "step": (ValueError, lambda: stream.step(x[0, :2])),
        "chunk": (ValueError, lambda: stream.run(x[0])),
        "out": (ValueError, lambda: stream.step(x[0], out=np.zeros((4, 5)))),
        "rows of a stream": (ValueError, lambda: stream.reset([4])),
        "bidirectional stream": (NotImplementedError, lambda: numrnn.GRU(3, 5, bidirectional=True).stream()),
        "input of a step": (ValueError, lambda: numrnn.jit.step(net, x[0, :2], states, out)),
        "output of a step": (ValueError, lambda: numrnn.jit.step(net, x[0], states, out[:, :4])),
        "states of another network": (ValueError, lambda: numrnn.jit.step(net, x[0], others, out)),
        "copies of other states": (ValueError, lambda: numrnn.jit.copy_state(states, others)),
        "bidirectional network": (NotImplementedError, lambda: numrnn.GRU(3, 5, bidirectional=True).jit()),
        "hidden size": (ValueError, lambda: numrnn.GRU(3, 0)),
        "kind of a size": (TypeError, lambda: numrnn.GRU(3.0, 5)),
        "far too large": (MemoryError, lambda: numrnn.LSTM(10**7, 10**7)),
        "head": (ValueError, lambda: numrnn.SequenceModel(layer, numrnn.Linear(6, 2))),
        "states of a model": (TypeError, lambda: model(x, state[0])),
        "roll-out": (ValueError, lambda: model.rollout(x, 0)),
        "features of a head": (ValueError, lambda: numrnn.Linear(5, 2)(x)),
        "cell": (ValueError, lambda: numrnn.GRUCell(3, 5)(x)),
    }
