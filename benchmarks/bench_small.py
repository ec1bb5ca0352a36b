"""What does a call cost that computes next to nothing: one step of one row?"""

from functools import cache

from benchmarks.common import BACKENDS, CELLS, ready  # isort: skip  # sets the environment before NumPy is imported
import numpy as np

from benchmarks.layers import LAYERS, check, draw_parameters, make_layer, run_reference

SHAPE = "1,1,16,32"


@cache
def stepping(backend, cell):
    """Return a function that takes a stream's next step, its first steps checked against the reference."""
    if backend not in LAYERS:
        raise NotImplementedError("as its graphs are made here, they start from zero states")
    _, _, i, h = map(int, SHAPE.split(","))
    x = np.random.default_rng(2_029).standard_normal((3, 1, i), np.float32)
    parameters = draw_parameters(cell, (i, h, 1))
    layer = make_layer(backend, cell, (i, h, 1), parameters)
    (expected,) = run_reference(cell, 1, parameters, x)
    for x_t, h_t in zip(x, expected, strict=True):
        check([layer.step(layer.given(x_t))], [h_t])
    x_t = layer.given(x[0])
    return lambda: layer.step(x_t)


class SmallCall:
    """`call` is inference, `training` is `vjp` and its pullback, `step` goes on from the state of the step before."""

    params = (BACKENDS, CELLS, ["call", "training", "step"])
    param_names = ("backend", "cell", "what")
    version = "1"
    timeout = 300

    def setup(self, backend, cell, what):
        if what == "step":
            self.call = stepping(backend, cell)
        else:
            self.call = ready(backend, cell, SHAPE, {"call": "forward"}.get(what, what))

    def time_call(self, backend, cell, what):
        self.call()
