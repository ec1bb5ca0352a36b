"""How much memory does a process need at most, beside other libraries?"""

from benchmarks.common import BACKENDS, CELLS, prepared


class Memory:
    """The peak holds the library itself too: compare sizes of one library, or libraries at the large size."""

    params = (BACKENDS, CELLS, ["1,1,16,32", "64,400,128,256"], ["forward", "training"])
    param_names = ("backend", "cell", "N,T,I,H", "mode")
    version = "1"
    timeout = 300

    def setup(self, backend, cell, shape, mode):
        self.job, _ = prepared(backend, cell, shape, mode)

    def peakmem_call(self, backend, cell, shape, mode):
        self.job.call()
