"""What does it cost that every call has another number of steps? 101 calls of 50 to 150 steps, beside 101 of 100."""

from functools import cache

from benchmarks.common import CELLS  # isort: skip  # sets the environment before NumPy is imported
import numpy as np

from benchmarks.layers import LAYERS, check, draw_parameters, make_layer, run_reference


@cache
def calls(backend, cell, shape, steps):
    """Return a layer, warm and checked against the reference, and its inputs, one a call."""
    n, i, h = map(int, shape.split(","))
    rng = np.random.default_rng(2_028)
    counts = rng.permutation(np.arange(50, 151)) if steps == "50 to 150" else np.full(101, 100)
    parameters = draw_parameters(cell, (i, h, 1))
    layer = make_layer(backend, cell, (i, h, 1), parameters)
    arrays = [rng.standard_normal((count, n, i), np.float32) for count in counts]
    inputs = [layer.given(array) for array in arrays]
    for x, array in zip(inputs[:3], arrays[:3], strict=True):
        check(layer.forward(x), run_reference(cell, 1, parameters, array))
    return layer, inputs


class VaryingSteps:
    params = (LAYERS, CELLS, ["1,16,32", "32,64,128"], ["50 to 150", "100"])
    param_names = ("backend", "cell", "N,I,H", "steps")
    version = "1"
    timeout = 300

    def setup(self, backend, cell, shape, steps):
        self.layer, self.inputs = calls(backend, cell, shape, steps)

    def time_101_calls(self, backend, cell, shape, steps):
        for x in self.inputs:
            self.layer.forward(x)
