"""The cells of examples/own_cells.py, and their papers' equations as plain loops over rows and steps.

What the loops say owes nothing to the package: they read a layer's weights by name and compute in float64.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from cases import Answers, Array, Case, Problem, make_parameters
from documents import ROOT


def _load() -> Any:
    """Import the example under its own name, by which pickled layers find their class."""
    spec = importlib.util.spec_from_file_location("own_cells", ROOT / "examples" / "own_cells.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["own_cells"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


own_cells = _load()
MGU, PEEPHOLE = own_cells.MGU._own, own_cells.PeepholeLSTM._own


def make_layer(case: Case) -> Any:
    """The layer of a case, with the case's parameters."""
    cell = own_cells.MGU if case.cell == MGU else own_cells.PeepholeLSTM
    options: dict[str, Any] = {"bias": case.bias, "batch_first": case.batch_first, "bidirectional": case.bidirectional}
    layer = cell(case.I, case.H, case.num_layers, dtype=case.dtype, **options)
    layer.set_parameters(make_parameters(case))
    return layer


def sigma(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def mgu_step(w: Mapping[str, Array], x: Array, states: list[Array]) -> list[Array]:
    """Zhou et al. 2016, figure 2 and the equations beside it."""
    (h,) = states
    (w_f, w_n), (u_f, u_n) = np.split(w["weight_ih"], 2), np.split(w["weight_hh"], 2)
    b_f, b_n = np.split(w["bias"], 2)
    f = sigma(w_f @ x + u_f @ h + b_f)
    n = np.tanh(w_n @ x + u_n @ (f * h) + b_n)
    return [(1 - f) * h + f * n]


def peephole_step(w: Mapping[str, Array], x: Array, states: list[Array]) -> list[Array]:
    """Graves 2013, arXiv:1308.0850, equations 7 to 11."""
    h, c = states
    s_i, s_f, s_g, s_o = np.split(w["weight_ih"] @ x + w["weight_hh"] @ h + w["bias"], 4)
    i = sigma(s_i + w["weight_ci"] * c)
    f = sigma(s_f + w["weight_cf"] * c)
    c = f * c + i * np.tanh(s_g)
    o = sigma(s_o + w["weight_co"] * c)
    return [o * np.tanh(c), c]


def by_loops(case: Case, problem: Problem, parameters: Mapping[str, Array]) -> Answers:
    """`output`, `h_n` and, where there is one, `c_n` of a call."""
    step = mgu_step if case.cell == MGU else peephole_step
    steps, rows, _ = problem.x.shape
    lengths = np.full(rows, steps) if problem.lengths is None else problem.lengths
    given = [problem.h_0, problem.c_0][: len(case.spec.states)]
    tracks = case.num_layers * case.num_directions
    last = [np.zeros((tracks, rows, case.H)) if state is None else state.astype(float) for state in given]
    x = problem.x.astype(float)
    for track in range(tracks):
        layer, d = divmod(track, case.num_directions)
        if d == 0:
            output = np.zeros((steps, rows, case.num_directions * case.H))
        suffix = f"_l{layer}" + "_reverse" * d
        w = {name.removesuffix(suffix): value.astype(float) for name, value in parameters.items()}
        w["bias"] = w["bias_ih"] + w["bias_hh"] if case.bias else np.zeros(len(w["weight_ih"]))
        for n in range(rows):
            states = [state[track, n] for state in last]
            for t in range(lengths[n])[:: -1 if d else 1]:
                if problem.resets is not None and problem.resets[t, n]:
                    states = [np.zeros(case.H) for _ in states]
                states = step(w, x[t, n], states)
                output[t, n, d * case.H :][: case.H] = states[0]
            for state, value in zip(last, states, strict=True):
                state[track, n] = value
        if d == case.num_directions - 1:
            x = output
    return {"output": x, **dict(zip(("h_n", "c_n"), last, strict=False))}
