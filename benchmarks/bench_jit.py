"""What does a step cost inside a user's compiled loop, where a network feeds itself and nothing runs beside it?"""

from timeit import timeit

import benchmarks.common  # isort: skip  # noqa: F401  # sets the environment before NumPy is imported
import numba
import numpy as np

import numrnn
from numrnn.kernels import peak

STEPS = 2000


@numba.njit
def closed_loop(net, x, state, out):
    for _ in range(STEPS):
        numrnn.jit.step(net, x, state, out)
        x[0, 0] = out[0, 0]


class ClosedLoop:
    params = (["LSTM", "GRU", "RNN"], ["16,32", "32,64", "64,128"])
    param_names = ("cell", "I,H")
    version = "1"

    def setup(self, cell, sizes):
        input_size, hidden_size = map(int, sizes.split(","))
        layer = getattr(numrnn, cell)(input_size, hidden_size, seed=0)
        self.net, self.state = layer.jit(), numrnn.jit.new_state(layer.jit(), 1)
        self.x, self.out = np.ones((1, input_size), np.float32), np.empty((1, hidden_size), np.float32)
        rows = layer.parameters["weight_ih_l0"].shape[0]
        self.flops = 2.0 * rows * (input_size + hidden_size) * STEPS
        x, stream = self.x.copy(), layer.stream(batch_size=1)
        for _ in range(STEPS):
            expected = stream.step(x)
            x[0, 0] = expected[0, 0]
        self.time_loop(cell, sizes)
        assert np.array_equal(self.out, expected)

    def time_loop(self, cell, sizes):
        closed_loop(self.net, self.x, self.state, self.out)

    def track_times_the_multiply_adds(self, cell, sizes):
        """The least time over that of the multiply-adds alone, at the highest peak of the core measured in turn."""
        rounds = [(timeit(lambda: self.time_loop(cell, sizes), number=1), peak.measure(1, bursts=2)) for _ in range(60)]
        seconds, peaks = zip(*rounds, strict=True)
        return min(seconds) * max(peaks) * 1e9 / self.flops

    track_times_the_multiply_adds.unit = "times"
