"""How long do forward and backward take together, with every gradient, beside other libraries?"""

from benchmarks.common import BACKENDS, CELLS, SHAPES, ready


class Training:
    params = (BACKENDS, CELLS, SHAPES)
    param_names = ("backend", "cell", "N,T,I,H")
    version = "1"
    timeout = 300

    def setup(self, backend, cell, shape):
        self.call = ready(backend, cell, shape, "training")

    def time_call(self, backend, cell, shape):
        self.call()
