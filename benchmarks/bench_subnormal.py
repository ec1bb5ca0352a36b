"""Do numbers below float32's normal range (1.2e-38) slow a call down? Some processors need a hundred times as long."""

from dataclasses import replace

from benchmarks.common import BACKENDS, CELLS, ready


def without_biases(problem):
    """So that nothing lifts the sums out of the range of x."""
    zeroed = {name: value * name.startswith("weight") for name, value in problem.parameters.items()}
    return replace(problem, parameters=zeroed)


def subnormal(problem):
    problem = without_biases(problem)
    return replace(problem, x=problem.x * problem.x.dtype.type(1e-39))


class Subnormal:
    params = (BACKENDS, CELLS, ["32,100,64,128"], ["normal", "subnormal"])
    param_names = ("backend", "cell", "N,T,I,H", "x")
    version = "1"
    timeout = 300

    def setup(self, backend, cell, shape, x):
        change = {"normal": without_biases, "subnormal": subnormal}[x]
        self.call = ready(backend, cell, shape, "forward", change=change)

    def time_call(self, backend, cell, shape, x):
        self.call()
