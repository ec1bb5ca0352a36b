"""The calls of `benchmarks.soak`: each a function of its number alone, with its results as nested arrays.

`Setting` says in what surroundings a call runs: threads, Python threads, forks. None of them may change a bit, so a
fresh process repeats the call without them.
"""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import select
import signal
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numba
import numpy as np

import numrnn
from benchmarks.soak_errors import refusals

__all__ = ["CALLS", "Setting", "digest_of", "kind_of_call", "run_call"]

SIZES = (1, 2, 3, 5, 6, 7, 15, 16, 17, 31, 33, 48)
PATIENCE = 120.0
"""Seconds that a forked child may take."""


class Setting(NamedTuple):
    """The surroundings of calls: the most threads of a call, and whether Python threads and forks are made."""

    max_threads: int
    alone: bool

    def threads(self, rng: np.random.Generator) -> int | None:
        """A call's own `n_threads`; the same numbers are drawn in any setting."""
        drawn = (None, 1, 2)[rng.integers(3)]
        return 1 if self.alone else None if drawn is None else min(drawn, self.max_threads)


def ugrnn(sums: Any, states: Any, vectors: Any) -> Any:
    """The update gate RNN (Collins, Sohl-Dickstein & Sussillo 2016): a cell of the user's."""
    u, n, h = numrnn.cells.sigmoid(sums[0]), numrnn.cells.tanh(sums[1]), states[0]
    return (u * h + (1.0 - u) * n,), (u, n)


def ugrnn_backward(d_states: Any, kept: Any, before: Any, after: Any, vectors: Any) -> Any:
    """Its adjoints."""
    (dh,), (u, n), (h,) = d_states, kept, before
    d_u, d_n = dh * (h - n) * u * (1.0 - u), dh * (1.0 - u) * (1.0 - n * n)
    return (d_u, d_n), (dh * u,), ()


UGRNN = numrnn.cells.define("UGRNN", gates=("u", "n"), kept=("u", "n"), forward=ugrnn, backward=ugrnn_backward)
LAYERS = {"RNN": numrnn.RNN, "LSTM": numrnn.LSTM, "GRU": numrnn.GRU, "UGRNN": UGRNN}


def size(rng: np.random.Generator, most: int = SIZES[-1]) -> int:
    """A size at or beside the edge of a vector or tile."""
    return int(rng.choice([each for each in SIZES if each <= most]))


def chance(rng: np.random.Generator, probability: float = 0.5) -> bool:
    """True so often."""
    return bool(rng.random() < probability)


def random_layer(
    rng: np.random.Generator, *, input_size: int | None = None, one_way: bool = False, **fixed: Any
) -> Any:
    """A layer of any cell, with any of its options."""
    cell = str(rng.choice(list(LAYERS)))
    options: dict[str, Any] = {
        "num_layers": int(rng.integers(1, 4)),
        "bias": chance(rng, 0.8),
        "batch_first": chance(rng),
        "bidirectional": chance(rng, 0.3) and not one_way,
        "dtype": "float64" if chance(rng, 0.3) else "float32",
        "seed": int(rng.integers(2**31)),
    }
    hidden = size(rng)
    if options["num_layers"] > 1 and chance(rng):
        options["dropout"] = 0.3
    if cell == "RNN":
        options["nonlinearity"] = str(rng.choice(["tanh", "relu"]))
    if cell == "GRU":
        options["reset_after"] = chance(rng, 0.7)
    if cell == "LSTM" and hidden > 1 and chance(rng, 0.3):
        options["proj_size"] = int(rng.integers(1, hidden))
    options |= fixed
    if options["num_layers"] == 1:
        options.pop("dropout", None)
    return LAYERS[cell](input_size or size(rng, 33), hidden, **options)


def random_input(layer: Any, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    """An x of any form for a layer, and the arguments that go with it."""
    T, N = int(rng.integers(0, 30)), size(rng, 33)
    if chance(rng, 0.05):
        T, N = 80, 48
    form = str(rng.choice(["array", "array", "array", "one", "list", "packed", "strided"]))
    shape = (N, T, layer.input_size) if layer.batch_first else (T, N, layer.input_size)
    x: Any = rng.standard_normal(shape).astype(rng.choice(["float32", "float64"]))
    if form == "one":
        return x[0] if layer.batch_first else x[:, 0], {}
    if form in ("list", "packed"):
        rows = [rng.standard_normal((int(n), layer.input_size)) for n in rng.integers(1, 20, N)]
        if form == "packed":
            return numrnn.pack_sequence(rows, enforce_sorted=False), {}
        return rows, {}
    options: dict[str, Any] = {}
    if form == "strided":
        x = np.repeat(x, 2, axis=-1)[..., ::2]
    if chance(rng, 0.4):
        options["lengths"] = rng.integers(0, T + 1, N)
    elif chance(rng, 0.2) and layer.signature.num_directions == 1:
        options["reset"] = rng.random(shape[:2]) < 0.2
    if chance(rng, 0.4):
        options["state"] = random_state(layer, N, rng)
    return x, options


def random_state(layer: Any, n_rows: int, rng: np.random.Generator) -> Any:
    """An initial state; sometimes one row for all."""
    of = layer.signature
    rows = 1 if chance(rng, 0.2) else n_rows
    h, c = (
        rng.standard_normal((of.num_layers * of.num_directions, rows, each))
        for each in (of.output_size, of.hidden_size)
    )
    return (h, c) if of.cell == "lstm" else h


def cotangents_like(value: Any, rng: np.random.Generator) -> Any:
    """Random numbers in the form of a result."""
    if isinstance(value, list):
        return [cotangents_like(each, rng) for each in value]
    if hasattr(value, "batch_sizes"):
        return value._replace(data=rng.standard_normal(value.data.shape))
    return rng.standard_normal(value.shape)


def inference(rng: np.random.Generator, setting: Setting) -> Any:
    """A plain call, or `last`, of a layer or of one that reads from the end."""
    layer = random_layer(rng)
    if layer.signature.num_directions == 1 and chance(rng, 0.2):
        layer = numrnn.Reversed(layer, keep_order=chance(rng))
    x, options = random_input(layer, rng)
    options["n_threads"] = setting.threads(rng)
    if chance(rng, 0.3):
        result = layer.last(x, **options)
        return result.state, result.last_output
    result = layer(x, **options, internals=chance(rng, 0.2))
    return result.output, result.state


def training(rng: np.random.Generator, setting: Setting) -> Any:
    """Forward and backward, with dropout, sometimes recomputed, the pullback sometimes called twice."""
    layer = random_layer(rng)
    x, options = random_input(layer, rng)
    recompute = None if chance(rng, 0.7) else True
    result, pullback = layer.vjp(
        x, **options, seed=int(rng.integers(2**31)), recompute=recompute, n_threads=setting.threads(rng)
    )
    d_output = cotangents_like(result.output, rng)
    d_h_n = cotangents_like(result.h_n, rng) if chance(rng) else None
    gradients = pullback(d_output, d_h_n)
    if chance(rng, 0.2):
        gradients = gradients + pullback(None, rng.standard_normal(result.h_n.shape))
    return result.output, result.state, gradients.x, gradients.h_0, gradients.parameters


def cells(rng: np.random.Generator, setting: Setting) -> Any:
    """Steps of a cell, and the gradient of one."""
    kind = getattr(numrnn, str(rng.choice(["RNNCell", "LSTMCell", "GRUCell"])))
    cell = kind(size(rng, 33), size(rng), seed=int(rng.integers(2**31)))
    rows = (size(rng, 33),) if chance(rng, 0.7) else ()
    state = None
    for _ in range(int(rng.integers(1, 6))):
        state = cell(rng.standard_normal((*rows, cell.input_size)), state, n_threads=setting.threads(rng))
    after, pullback = cell.vjp(rng.standard_normal((*rows, cell.input_size)), state)
    h = after[0] if isinstance(after, tuple) else after
    gradients = pullback(rng.standard_normal(h.shape))
    return after, gradients.x, gradients.h_0, gradients.parameters


def streams(rng: np.random.Generator, setting: Setting) -> Any:
    """Steps, chunks, resets and forks of a stream."""
    layer = random_layer(rng, one_way=True, batch_first=False)
    n_rows = size(rng, 17) if chance(rng, 0.7) else None
    rows = () if n_rows is None else (n_rows,)
    stream = layer.stream(n_rows)
    found: list[Any] = []
    for _ in range(int(rng.integers(1, 8))):
        action = int(rng.integers(4))
        if action == 0:
            found.append(stream.run(rng.standard_normal((int(rng.integers(0, 9)), *rows, layer.input_size))))
        elif action == 1 and n_rows is not None:
            stream.reset(rng.random(n_rows) < 0.5)
        elif action == 2:
            stream = stream.fork() if chance(rng) else pickle.loads(pickle.dumps(stream))
        found.append(stream.step(rng.standard_normal((*rows, layer.input_size))))
    return found, stream.state


@numba.njit
def compiled_steps(net: Any, x: Any, state: Any, out: Any) -> None:
    """A user's compiled loop."""
    for t in range(len(x)):
        numrnn.jit.step(net, x[t], state, out[t])


def networks(rng: np.random.Generator, setting: Setting) -> Any:
    """Steps of a network in compiled code and from Python."""
    layer = random_layer(rng, one_way=True, batch_first=False)
    net, n_rows = layer.jit(), size(rng, 17)
    state = numrnn.jit.new_state(net, n_rows)
    x = rng.standard_normal((int(rng.integers(0, 9)), n_rows, layer.input_size)).astype(layer.dtype)
    out = np.empty((*x.shape[:2], layer.signature.output_size), layer.dtype)
    compiled_steps(net, x, state, out)
    if chance(rng):
        state = pickle.loads(pickle.dumps(state))
    again = out.copy()
    numrnn.jit.run(net, x, state, again)
    return out, again, state.h, state.c


def linear(rng: np.random.Generator, setting: Setting) -> Any:
    """A dense layer, forward and backward."""
    layer = numrnn.Linear(size(rng), size(rng), bias=chance(rng), seed=int(rng.integers(2**31)))
    x = rng.standard_normal((*rng.integers(0, 20, int(rng.integers(0, 3))), layer.in_features))
    y, pullback = layer.vjp(x, n_threads=setting.threads(rng))
    gradients = pullback(rng.standard_normal(y.shape))
    return layer(x), gradients.x, gradients.parameters


def random_model(rng: np.random.Generator, **fixed: Any) -> Any:
    """One to three layers, and mostly a head."""
    shared = {"batch_first": chance(rng), "dtype": "float64" if chance(rng, 0.3) else "float32"} | fixed
    layers = [random_layer(rng, **shared)]
    for _ in range(int(rng.integers(0, 2))):
        below = layers[-1].signature
        layers.append(random_layer(rng, input_size=below.num_directions * below.output_size, **shared))
    top = layers[-1].signature
    features = top.num_directions * top.output_size
    head = None
    if chance(rng, 0.8):
        head = numrnn.Linear(features, size(rng, 7), dtype=shared["dtype"], seed=int(rng.integers(2**31)))
    return numrnn.SequenceModel(
        layers if len(layers) > 1 else layers[0],
        head,
        readout_on=str(rng.choice(["last", "every", "mean", "max"])),
        learn_initial_state=chance(rng, 0.3),
    )


def models(rng: np.random.Generator, setting: Setting) -> Any:
    """A model, forward and backward, copied or pickled on the way."""
    model = random_model(rng)
    x, options = random_input(layers_of(model)[0], rng)
    options.pop("reset", None)
    options.pop("state", None)
    if chance(rng, 0.3):
        model = pickle.loads(pickle.dumps(model)) if chance(rng) else copy.deepcopy(model)
    plain = model(x, **options, n_threads=setting.threads(rng))
    prediction, pullback = model.vjp(x, **options, seed=int(rng.integers(2**31)), n_threads=setting.threads(rng))
    gradients = pullback(cotangents_like(prediction, rng))
    return plain, prediction, gradients.x, gradients.parameters


def layers_of(model: Any) -> tuple[Any, ...]:
    """The recurrent layers of a model."""
    return model.recurrent if isinstance(model.recurrent, tuple) else (model.recurrent,)


def rollouts(rng: np.random.Generator, setting: Setting) -> Any:
    """Forecasts fed with themselves, some of them sampled."""
    layer = random_layer(rng, one_way=True, num_layers=int(rng.integers(1, 3)))
    known = int(rng.integers(0, 2)) if layer.input_size > 1 else 0
    features = layer.input_size - known
    head = numrnn.Linear(layer.signature.output_size, features, dtype=layer.dtype, seed=1)
    model = numrnn.SequenceModel(layer, head)
    T, N, steps = int(rng.integers(1, 12)), size(rng, 17), int(rng.integers(1, 12))
    x = rng.standard_normal((N, T, layer.input_size) if layer.batch_first else (T, N, layer.input_size))
    options: dict[str, Any] = {}
    if known:
        options["known"] = rng.standard_normal((N, steps, known) if layer.batch_first else (steps, N, known))
    if chance(rng) and not (isinstance(layer, UGRNN) and layer.dropout):  # which is not implemented
        options |= {"noise": 0.1, "n_paths": int(rng.integers(1, 5))}
    return model.rollout(x, steps, **options, seed=int(rng.integers(2**31)), n_threads=setting.threads(rng))


def optimisers(rng: np.random.Generator, setting: Setting) -> Any:
    """Some steps of an optimiser on a loss."""
    model = random_model(rng, num_layers=1)
    makers: list[Callable[[], Any]] = [
        lambda: numrnn.optim.SGD(model, lr=0.01, momentum=0.5),
        lambda: numrnn.optim.RMSprop(model, lr=0.001),
        lambda: numrnn.optim.Adam(model, lr=0.001),
        lambda: numrnn.optim.AdamW(model, lr=0.001),
    ]
    optimiser = makers[int(rng.integers(len(makers)))]()
    T, N = int(rng.integers(1, 20)), size(rng, 17)
    first = layers_of(model)[0]
    x = rng.standard_normal((N, T, first.input_size) if first.batch_first else (T, N, first.input_size))
    values = []
    loss = (numrnn.losses.mse, numrnn.losses.mae, numrnn.losses.huber)[int(rng.integers(3))]
    target = rng.standard_normal(model(x).shape)
    for seed in range(3):
        prediction, pullback = model.vjp(x, seed=seed, n_threads=setting.threads(rng))
        value, d_prediction = loss(prediction, target)
        gradients, norm = numrnn.optim.clip_by_global_norm(pullback(d_prediction), 1.0)
        optimiser.step(gradients)
        values += [value, norm]
    return values, model.parameters


def fits(rng: np.random.Generator, setting: Setting) -> Any:
    """A short training."""
    model = numrnn.SequenceModel(
        random_layer(rng, input_size=2, num_layers=1, batch_first=True, dtype="float32"), None, readout_on="mean"
    )
    n_rows = int(rng.integers(4, 20))
    x = rng.standard_normal((n_rows, 9, 2))
    y = rng.standard_normal(model(x).shape)
    history = numrnn.fit(
        model,
        x,
        y,
        loss=numrnn.losses.mse,
        optimizer=numrnn.optim.Adam(model, lr=0.01),
        epochs=2,
        batch_size=8,
        progress=False,
        seed=int(rng.integers(2**31)),
        n_threads=setting.threads(rng),
    )
    return history["loss"], model.parameters


def errors(rng: np.random.Generator, setting: Setting) -> Any:
    """Deliberate mistakes; each must be refused, and the layer must work as before afterwards."""
    layer = numrnn.LSTM(3, 5, num_layers=2, seed=int(rng.integers(2**31)))
    x = rng.standard_normal((7, 4, 3))
    before = layer(x, n_threads=setting.threads(rng)).output
    mistakes = refusals(layer, x)
    texts = []
    for name in rng.choice(list(mistakes), 5, replace=False):
        kinds, mistake = mistakes[str(name)]
        try:
            mistake()
        except kinds as error:
            texts.append(f"{name}: {type(error).__name__}: {error}")
        else:
            raise AssertionError(f"{name} was not refused")
    if not np.array_equal(layer(x).output, before):
        raise AssertionError(f"after {texts} the layer gives other numbers")
    return texts, before


def python_threads(rng: np.random.Generator, setting: Setting) -> Any:
    """Four calls at once, from four Python threads."""
    picks = [(SIDE_BY_SIDE[int(rng.integers(len(SIDE_BY_SIDE)))], int(rng.integers(2**31))) for _ in range(4)]

    def one(pick: tuple[Any, int]) -> str:
        call, seed = pick
        return digest_of(call(np.random.default_rng(seed), setting))

    if setting.alone:
        return [one(pick) for pick in picks]
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, picks))


def forks(rng: np.random.Generator, setting: Setting) -> Any:
    """A call in this process and in a forked child, which must agree."""
    call, seed = SIDE_BY_SIDE[int(rng.integers(len(SIDE_BY_SIDE)))], int(rng.integers(2**31))

    def compute() -> str:
        return digest_of(call(np.random.default_rng(seed), setting))

    here = compute()
    if not setting.alone and hasattr(os, "fork"):
        there = in_child(compute)
        if there != here:
            raise AssertionError(f"a forked child gives {there}, its parent {here}")
    return here


def in_child(compute: Callable[[], str]) -> str:
    """The text that a forked child computes; raises where it dies or hangs."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that other threads may hold locks: the child takes none of theirs
        child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(writer, compute().encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    said = b""
    deadline = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < deadline:
            if not select.select([reader], [], [], 1.0)[0]:
                continue
            piece = os.read(reader, 4096)
            if not piece:
                break
            said += piece
        else:
            os.kill(child, signal.SIGKILL)
            raise AssertionError(f"a forked child did not answer within {PATIENCE:.0f} s")
    finally:
        os.close(reader)
        _, status = os.waitpid(child, 0)
    if status:
        raise AssertionError(f"a forked child ended with status {status}")
    return said.decode()


SIDE_BY_SIDE = (inference, training, models, streams, networks, linear)
CALLS: tuple[Callable[[np.random.Generator, Setting], Any], ...] = (
    inference,
    training,
    cells,
    streams,
    networks,
    linear,
    models,
    rollouts,
    optimisers,
    fits,
    errors,
    python_threads,
    forks,
)


def kind_of_call(seed: int, number: int) -> Callable[[np.random.Generator, Setting], Any]:
    """What kind the call of a number is: each kind once in a round, in random order."""
    a_round, place = divmod(number, len(CALLS))
    return CALLS[np.random.default_rng([seed, a_round]).permutation(len(CALLS))[place]]


def run_call(seed: int, number: int, setting: Setting) -> str:
    """Make the call of a number, and return the digest of its results."""
    rng = np.random.default_rng([seed, 1, number])
    return digest_of(kind_of_call(seed, number)(rng, setting))


def digest_of(value: Any) -> str:
    """A digest of nested results: every bit of every number, and every shape."""
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        digest.update(f"{array.dtype.str}{np.shape(value)}".encode())
        digest.update(array.tobytes())
    elif isinstance(value, dict):
        for name in value:
            digest.update(str(name).encode())
            _feed(digest, value[name])
    elif isinstance(value, list | tuple):
        digest.update(f"{len(value)}".encode())
        for each in value:
            _feed(digest, each)
    elif hasattr(value, "batch_sizes"):
        _feed(digest, [value.data, value.batch_sizes])
    elif value is None or isinstance(value, str | int | float):
        digest.update(repr(value).encode())
    else:
        raise TypeError(f"no digest of {type(value).__name__}")
