"""Recurrent networks on NumPy arrays: RNN, LSTM and GRU, forward and backward, compiled by Numba.

>>> import numpy as np
>>> import numrnn
>>> lstm = numrnn.LSTM(input_size=4, hidden_size=8)
>>> output, (h_n, c_n) = lstm(np.zeros((10, 3, 4)))
>>> output.shape, h_n.shape, c_n.shape
((10, 3, 8), (1, 3, 8), (1, 3, 8))
"""

from __future__ import annotations

from numrnn._threads import get_num_threads as get_num_threads
from numrnn._threads import set_num_threads as set_num_threads
from numrnn.nn.layers import GRU as GRU
from numrnn.nn.layers import LSTM as LSTM
from numrnn.nn.layers import RNN as RNN

__version__ = "0.1.0"
