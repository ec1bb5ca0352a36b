"""A layer of numrnn or of PyTorch, for questions that `numrnn.bench.peers` does not ask: stacks, steps, varying T.

Each is called with arrays of its own kind (`given`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.common import THREADS  # isort: skip  # sets the environment before numrnn is imported
import numpy as np

import numrnn
from numrnn import reference
from numrnn.bench.cases import CELL_NAMES
from numrnn.bench.measure import TOLERANCE, largest_difference
from numrnn.bench.peers import PeerMissingError, load
from numrnn.cellspec import CELLS, parameter_shapes

__all__ = ["LAYERS", "check", "draw_parameters", "make_layer", "run_reference"]

LAYERS = ["numrnn", "torch"]


class _Numrnn:
    def __init__(self, cell: str, sizes: tuple[int, int, int], parameters: dict[str, Any], bidirectional: bool) -> None:
        self.layer = getattr(numrnn, cell.upper())(*sizes, bidirectional=bidirectional)
        self.layer.set_parameters(parameters)
        self.steps = self.layer.stream(batch_size=1).step if not bidirectional else None

    @staticmethod
    def given(x: Any) -> Any:
        return x

    def forward(self, x: Any) -> list[Any]:
        return [self.layer(x, n_threads=THREADS).output]

    def training(self, x: Any, d_output: Any) -> list[Any]:
        result, pullback = self.layer.vjp(x, n_threads=THREADS)
        gradients = pullback(d_output=d_output)
        return [result.output, gradients.x, *gradients.parameters.values()]

    def step(self, x_t: Any) -> Any:
        return self.steps(x_t)


class _Torch:
    def __init__(self, cell: str, sizes: tuple[int, int, int], parameters: dict[str, Any], bidirectional: bool) -> None:
        import torch

        self.torch = torch
        self.layer = getattr(torch.nn, cell.upper())(*sizes, bidirectional=bidirectional)
        self.layer.load_state_dict({name: torch.from_numpy(value) for name, value in parameters.items()})
        self.inputs = [self.layer.get_parameter(name) for name in parameters]
        self.state = None

    def given(self, x: Any) -> Any:
        return self.torch.from_numpy(x)

    def forward(self, x: Any) -> list[Any]:
        with self.torch.inference_mode():
            return [self.layer(x)[0]]

    def training(self, x: Any, d_output: Any) -> list[Any]:
        x.requires_grad_()
        output = self.layer(x)[0]
        return [output, *self.torch.autograd.grad(output, [x, *self.inputs], d_output)]

    def step(self, x_t: Any) -> Any:
        with self.torch.inference_mode():
            output, self.state = self.layer(x_t[None], self.state)
            return output[0]


def make_layer(
    backend: str, cell: str, sizes: tuple[int, int, int], parameters: dict[str, Any], *, bidirectional: bool = False
) -> Any:
    """Make a layer of `sizes` (I, H, L); NotImplementedError, which asv reads as "skip", if the library is absent.

    `forward(x)`, `training(x, d_output)` and `step(x_t)`, for one row, whose state goes on from call to call.
    """
    try:
        load(backend, THREADS)  # bounds its pool
    except PeerMissingError as error:
        raise NotImplementedError(str(error)) from error
    return {"numrnn": _Numrnn, "torch": _Torch}[backend](cell, sizes, parameters, bidirectional)


def draw_parameters(cell: str, sizes: tuple[int, int, int], *, bidirectional: bool = False) -> dict[str, Any]:
    """Draw weights in float32; the same ones in every process."""
    rng = np.random.default_rng(2_026)
    bound = 1 / np.sqrt(sizes[1])
    shapes = parameter_shapes(CELLS[CELL_NAMES[cell]], *sizes, True, 1 + bidirectional)
    return {name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}


def run_reference(
    cell: str, num_layers: int, parameters: dict[str, Any], x: Any, d_output: Any = None, *, bidirectional: bool = False
) -> list[Any]:
    """Compute what a layer's `forward` or, with `d_output`, its `training` returns, in float64."""
    spec = CELLS[CELL_NAMES[cell]]
    trace = reference.forward(spec, parameters, x, num_layers=num_layers, num_directions=1 + bidirectional)
    if d_output is None:
        return [trace.output]
    d_x, _, _, d_parameters = reference.backward(trace, d_output)
    return [trace.output, d_x, *d_parameters.values()]


def check(returned: Sequence[Any], expected: Sequence[Any]) -> None:
    """Refuse results that are not the reference's, in the same order."""
    arrays = [value.detach().numpy() if hasattr(value, "detach") else value for value in returned]
    difference, where = largest_difference(
        {str(k): value for k, value in enumerate(arrays)}, {str(k): value for k, value in enumerate(expected)}
    )
    if not difference <= TOLERANCE["float32"]:
        raise AssertionError(f"result {where} is off by {difference:.1e} of its scale")
