"""How long does inference take, beside other libraries?"""

from benchmarks.common import BACKENDS, CELLS, SHAPES, ready


class Forward:
    params = (BACKENDS, CELLS, SHAPES)
    param_names = ("backend", "cell", "N,T,I,H")
    version = "1"
    timeout = 300

    def setup(self, backend, cell, shape):
        self.call = ready(backend, cell, shape, "forward")

    def time_call(self, backend, cell, shape):
        self.call()
