"""How long do very many steps of few, small rows take?"""

from benchmarks.common import BACKENDS, CELLS, MODES, ready


class LongSequence:
    params = (BACKENDS, CELLS, ["1,10000,16,32", "8,10000,8,16"], MODES)
    param_names = ("backend", "cell", "N,T,I,H", "mode")
    version = "1"
    timeout = 300

    def setup(self, backend, cell, shape, mode):
        self.call = ready(backend, cell, shape, mode)

    def time_call(self, backend, cell, shape, mode):
        self.call()
