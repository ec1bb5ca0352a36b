"""How long does double precision take? Half as many numbers fit into a vector, so twice float32's time is its bound."""

from benchmarks.common import BACKENDS, CELLS, MODES, ready


class Float64:
    params = (BACKENDS, CELLS, ["32,100,64,128"], MODES)
    param_names = ("backend", "cell", "N,T,I,H", "mode")
    version = "1"
    timeout = 300

    def setup(self, backend, cell, shape, mode):
        self.call = ready(backend, cell, shape, mode, dtype="float64")

    def time_call(self, backend, cell, shape, mode):
        self.call()
