"""PyTorch modules that run on the kernels: `numrnn.torch.GRU` in the place of `torch.nn.GRU`.

>>> import torch
>>> import numrnn.torch
>>> gru = numrnn.torch.GRU(4, 8, batch_first=True)
>>> output, h_n = gru(torch.zeros(3, 10, 4))
>>> output.sum().backward()
>>> output.shape, gru.weight_hh_l0.grad.shape
(torch.Size([3, 10, 8]), torch.Size([24, 8]))
"""

from __future__ import annotations

try:
    from numrnn.torch.layers import GRU, LSTM, RNN
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError('numrnn.torch: these modules need PyTorch: pip install "numrnn[torch]"') from error

__all__ = ["GRU", "LSTM", "RNN"]
