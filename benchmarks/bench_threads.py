"""How much do threads help? The same call on one and on two."""

from benchmarks.common import BACKENDS, CELLS, MODES, THREADS, ready


class Threads:
    """Each runs in a process of its own, in which nothing was on more threads before."""

    params = (BACKENDS, CELLS, ["1,256,256,256", "64,100,256,256"], MODES, [1, 2])
    param_names = ("backend", "cell", "N,T,I,H", "mode", "threads")
    version = "1"
    timeout = 300

    def setup(self, backend, cell, shape, mode, threads):
        if threads > THREADS:
            raise NotImplementedError(f"this process may use {THREADS} processor")
        self.call = ready(backend, cell, shape, mode, threads=threads)

    def time_call(self, backend, cell, shape, mode, threads):
        self.call()
