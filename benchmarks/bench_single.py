"""How long does one sequence take, where no row fills a register tile and every step waits for the one before?"""

from benchmarks.common import BACKENDS, CELLS, MODES, ready


class SingleSequence:
    params = (BACKENDS, CELLS, ["1,100,32,64", "1,256,256,256", "1,100,512,512"], MODES)
    param_names = ("backend", "cell", "N,T,I,H", "mode")
    version = "1"
    timeout = 300

    def setup(self, backend, cell, shape, mode):
        self.call = ready(backend, cell, shape, mode)

    def time_call(self, backend, cell, shape, mode):
        self.call()
