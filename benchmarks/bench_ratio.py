"""Are we ahead? Our time over another library's, measured in turns as `numrnn bench` does: below 1 we are."""

from importlib.util import find_spec

from benchmarks.common import BACKENDS, CELLS, MODES, THREADS
from numrnn.bench.cases import Case, read_shape
from numrnn.bench.measure import measure

SHAPES = ["1,1,16,32", "1,100,32,64", "32,100,64,128", "64,100,256,256"]


class Ratio:
    """asv calls a higher value worse, so that ours is above; a drift of the machine's speed divides out."""

    params = (BACKENDS[1:], CELLS, SHAPES, MODES)
    param_names = ("beside", "cell", "N,T,I,H", "mode")
    version = "1"
    unit = "of its time"
    timeout = 300

    def setup(self, beside, cell, shape, mode):
        if find_spec(beside) is None:
            raise NotImplementedError(f"{beside} is not installed")
        if beside == "onnxruntime" and mode == "training":
            raise NotImplementedError("it computes forward only")

    def track_our_time(self, beside, cell, shape, mode):
        case = Case(cell, read_shape(shape)[0], mode)
        ((outcome,), absent) = measure([case], [beside], threads=THREADS, repeats=7, burst_seconds=0.05)
        ratio = outcome.ratio("minimum")
        if ratio is None or outcome.mismatches:
            raise AssertionError(f"{absent or outcome.refusals or outcome.mismatches}")
        return 1 / ratio[0]
