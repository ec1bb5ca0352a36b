"""How long do two layers in both directions take, beside PyTorch?"""

from functools import cache

from benchmarks.common import CELLS, MODES  # isort: skip  # sets the environment before NumPy is imported
import numpy as np

from benchmarks.layers import LAYERS, check, draw_parameters, make_layer, run_reference

LAYERS_OF_STACK = 2


@cache
def stack(backend, cell, shape, mode):
    """Return a warm call whose results agree with the reference."""
    n, t, i, h = map(int, shape.split(","))
    sizes = (i, h, LAYERS_OF_STACK)
    parameters = draw_parameters(cell, sizes, bidirectional=True)
    layer = make_layer(backend, cell, sizes, parameters, bidirectional=True)
    rng = np.random.default_rng(2_027)
    arrays = [rng.standard_normal((t, n, i), np.float32)]
    if mode == "training":
        arrays.append(rng.standard_normal((t, n, 2 * h), np.float32))
    given = [layer.given(array) for array in arrays]

    def call():
        return getattr(layer, mode)(*given)

    check(call(), run_reference(cell, LAYERS_OF_STACK, parameters, *arrays, bidirectional=True))
    for _ in range(3):
        call()
    return call


class BidirectionalStack:
    params = (LAYERS, CELLS, ["32,100,64,128"], MODES)
    param_names = ("backend", "cell", "N,T,I,H", "mode")
    version = "1"
    timeout = 300

    def setup(self, backend, cell, shape, mode):
        self.call = stack(backend, cell, shape, mode)

    def time_call(self, backend, cell, shape, mode):
        self.call()
