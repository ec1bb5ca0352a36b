"""How large are the errors: of the activations in ulp, of float32 results beside the float64 reference?"""

from benchmarks.activation_accuracy import FUNCTIONS, examine
from benchmarks.common import BACKENDS, CELLS, MODES, expected, prepared
from numrnn.bench.measure import largest_difference


class Activations:
    """On one block of 2**18 float32 numbers in 64: benchmarks/activation_accuracy.py looks at all of them."""

    params = (list(FUNCTIONS),)
    param_names = ("function",)
    version = "1"
    unit = "ulp"
    timeout = 300

    def track_largest_error(self, function):
        return examine(*FUNCTIONS[function], every=64).worst


class Float32Error:
    """The largest |float32 - float64| of any result or gradient, over the largest number of the same array."""

    params = (BACKENDS, CELLS, ["32,100,64,128", "4,2000,64,128"], MODES)
    param_names = ("backend", "cell", "N,T,I,H", "mode")
    version = "1"
    unit = "of scale"
    timeout = 300

    def setup(self, backend, cell, shape, mode):
        self.job, self.problem = prepared(backend, cell, shape, mode)

    def track_error(self, backend, cell, shape, mode):
        return largest_difference(self.job.arrays(self.job.call()), expected(self.problem))[0]
