"""How long do sequences of different lengths take, beside other libraries and beside sequences that are all as long?"""

from benchmarks.common import BACKENDS, CELLS, RAGGED, ready


class Ragged:
    params = (BACKENDS, CELLS, RAGGED, ["forward", "training"])
    param_names = ("backend", "cell", "N,T,I,H", "mode")
    version = "1"
    timeout = 300

    def setup(self, backend, cell, shape, mode):
        self.call = ready(backend, cell, shape, mode)

    def time_call(self, backend, cell, shape, mode):
        self.call()
