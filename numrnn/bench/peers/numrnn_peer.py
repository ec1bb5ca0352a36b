"""numrnn itself: a layer's plain call, or `vjp` and its pullback."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

import numrnn
from numrnn.bench.cases import Problem
from numrnn.bench.peers.base import Job, Peer

__all__ = ["make"]


class _Numrnn(Peer):
    name = "numrnn"
    version = numrnn.__version__

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def prepare(self, problem: Problem) -> Job:
        case, x, d_output, threads = problem.case, problem.x, problem.d_output, self._threads
        lengths = problem.lengths
        kinds = {"lstm": numrnn.LSTM, "gru": numrnn.GRU, "rnn": numrnn.RNN}
        layer = kinds[case.cell](case.shape[2], case.shape[3], dtype=case.dtype)
        layer.set_parameters(problem.parameters)

        def forward() -> Any:
            return layer(x, lengths=lengths, n_threads=threads), None

        def training() -> Any:
            result, pullback = layer.vjp(x, lengths=lengths, n_threads=threads)
            return result, pullback(d_output=d_output)

        def arrays(returned: Any) -> dict[str, NDArray[Any]]:
            result, gradients = returned
            named = {"output": result.output, "h_n": result.h_n}
            if case.spec.has_cell_state:
                named["c_n"] = result.c_n
            if gradients is not None:
                named |= {"x": gradients.x} | gradients.parameters
            return named

        return Job(training if case.training else forward, arrays)


def make(threads: int) -> Peer:
    """Return the peer; its calls ask for `threads`."""
    return _Numrnn(threads)
