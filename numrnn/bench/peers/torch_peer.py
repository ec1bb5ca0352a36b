"""PyTorch: nn.LSTM, nn.GRU and nn.RNN; inference mode forward, autograd for training.

Sequences of different lengths are packed and padded again inside the call, as whoever has a padded batch must.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from numrnn.bench.cases import Problem
from numrnn.bench.peers.base import Job, Peer

__all__ = ["make"]


class _Torch(Peer):
    name = "torch"
    version = str(torch.__version__)

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def prepare(self, problem: Problem) -> Job:
        case = problem.case
        kinds = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}
        layer = kinds[case.cell](case.shape[2], case.shape[3], dtype=getattr(torch, case.dtype))
        layer.load_state_dict({name: torch.from_numpy(value) for name, value in problem.parameters.items()})
        x, d_output = torch.from_numpy(problem.x), torch.from_numpy(problem.d_output)
        lengths = None if problem.lengths is None else torch.from_numpy(problem.lengths)
        names = ["x", *problem.parameters]

        if case.training:
            x.requires_grad_()
            inputs = [x, *(layer.get_parameter(name) for name in problem.parameters)]
        else:
            layer.eval()

        def run() -> Any:
            if lengths is None:
                return layer(x)
            packed, state = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
            return pad_packed_sequence(packed)[0], state

        def forward() -> Any:
            with torch.inference_mode():
                return run(), ()

        def training() -> Any:
            returned = run()
            return returned, torch.autograd.grad(returned[0], inputs, d_output)

        def arrays(returned: Any) -> dict[str, NDArray[Any]]:
            (output, state), gradients = returned
            states = state if case.spec.has_cell_state else (state,)
            named = dict(zip(("output", "h_n", "c_n"), (output, *states), strict=False))
            named |= dict(zip(names, gradients, strict=False))
            return {name: value.detach().numpy() for name, value in named.items()}

        return Job(training if case.training else forward, arrays)


def make(threads: int) -> Peer:
    """Return the peer; PyTorch's pool has `threads` threads from here on."""
    return _Torch(threads)
