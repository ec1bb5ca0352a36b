"""JAX: jitted `lax.scan` over time, the product with the input hoisted out of it; `jax.vjp` for training.

Its arrays have fixed shapes: where lengths differ, every step is computed for every sequence, and a mask keeps the
states of those that have ended and zeroes their output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from numrnn.bench.cases import Problem
from numrnn.bench.peers.base import Job, Peer

__all__ = ["make"]


def _lstm_step(state: Any, pre_x: Any, w_hh: Any, b_hh: Any) -> tuple[Any, Any]:
    h, c = state
    i, f, g, o = jnp.split(pre_x + h @ w_hh + b_hh, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def _gru_step(state: Any, pre_x: Any, w_hh: Any, b_hh: Any) -> tuple[Any, Any]:
    (h,) = state
    x_r, x_z, x_n = jnp.split(pre_x, 3, axis=-1)
    h_r, h_z, h_n = jnp.split(h @ w_hh + b_hh, 3, axis=-1)
    r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + r * h_n)
    h = n + z * (h - n)
    return (h,), h


def _rnn_step(state: Any, pre_x: Any, w_hh: Any, b_hh: Any) -> tuple[Any, Any]:
    h = jnp.tanh(pre_x + state[0] @ w_hh + b_hh)
    return (h,), h


_STEPS: dict[str, Callable[..., tuple[Any, Any]]] = {"lstm": _lstm_step, "gru": _gru_step, "rnn": _rnn_step}


class _Jax(Peer):
    name = "jax"
    version = str(jax.__version__)

    def __init__(self) -> None:
        jax.config.update("jax_default_matmul_precision", "highest")

    def prepare(self, problem: Problem) -> Job:
        case = problem.case
        n, t, _, h = case.shape
        step = _STEPS[case.cell]

        def run(parameters: dict[str, Any], x: Any, lengths: Any) -> tuple[Any, Any]:
            w_hh, b_hh = parameters["weight_hh_l0"], parameters["bias_hh_l0"]
            pre_x = x @ parameters["weight_ih_l0"] + parameters["bias_ih_l0"]
            start = (jnp.zeros((n, h), x.dtype),) * len(case.spec.states)
            if lengths is None:
                state, output = jax.lax.scan(lambda state, p: step(state, p, w_hh, b_hh), start, pre_x)
                return output, state

            def masked(state: Any, inputs: tuple[Any, Any]) -> tuple[Any, Any]:
                pre_x, valid = inputs
                new, h_t = step(state, pre_x, w_hh, b_hh)
                kept = tuple(jnp.where(valid, fresh, old) for fresh, old in zip(new, state, strict=True))
                return kept, jnp.where(valid, h_t, 0)

            valid = (jnp.arange(t)[:, None] < lengths)[:, :, None]
            state, output = jax.lax.scan(masked, start, (pre_x, valid))
            return output, state

        def run_and_pull_back(parameters: dict[str, Any], x: Any, lengths: Any, d_output: Any) -> Any:
            output, pullback, state = jax.vjp(lambda p, x: run(p, x, lengths), parameters, x, has_aux=True)
            return output, state, pullback(d_output)

        # weights are kept transposed: products over contiguous rows, nothing left to transpose inside the scan;
        # for inference they are constants of the compiled function, as another runtime's are of its graph
        parameters = {name: jnp.asarray(np.ascontiguousarray(value.T)) for name, value in problem.parameters.items()}
        x, d_output = jnp.asarray(problem.x), jnp.asarray(problem.d_output)
        lengths = None if problem.lengths is None else jnp.asarray(problem.lengths)
        compiled_forward = jax.jit(lambda x, lengths: run(parameters, x, lengths))
        compiled_training = jax.jit(run_and_pull_back)

        def forward() -> Any:
            return _finished(compiled_forward(x, lengths))

        def training() -> Any:
            return _finished(compiled_training(parameters, x, lengths, d_output))

        def arrays(returned: Any) -> dict[str, NDArray[Any]]:
            named = {"output": returned[0]}
            named |= {f"{name}_n": value[None] for name, value in zip(case.spec.states, returned[1], strict=True)}
            if case.training:
                d_parameters, d_x = returned[2]
                named |= {"x": d_x} | {name: value.T for name, value in d_parameters.items()}
            return {name: np.asarray(value) for name, value in named.items()}

        return Job(training if case.training else forward, arrays)


def _finished(returned: Any) -> Any:
    """Wait for a call; the results of one compiled function become ready together, so that one of them is enough."""
    returned[0].block_until_ready()
    return returned


def make(threads: int) -> Peer:
    """Return the peer; its pool was sized by the environment (`thread_environment`), `threads` is not read again."""
    return _Jax()
