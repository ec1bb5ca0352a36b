"""Recurrent networks on NumPy arrays: RNN, LSTM and GRU, forward and backward, compiled by Numba.

>>> import numpy as np
>>> import numrnn
>>> lstm = numrnn.LSTM(input_size=4, hidden_size=8)
>>> output, (h_n, c_n) = lstm(np.zeros((10, 3, 4)))
>>> output.shape, h_n.shape, c_n.shape
((10, 3, 8), (1, 3, 8), (1, 3, 8))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from numrnn._threads import get_num_threads as get_num_threads
from numrnn._threads import set_num_threads as set_num_threads
from numrnn.nn.layers import GRU as GRU
from numrnn.nn.layers import LSTM as LSTM
from numrnn.nn.layers import RNN as RNN

if TYPE_CHECKING:
    from numrnn import losses as losses
    from numrnn import optim as optim
    from numrnn._info import info as info
    from numrnn._warmup import warmup as warmup
    from numrnn.nn.linear import Linear as Linear
    from numrnn.nn.model import SequenceModel as SequenceModel

__version__ = "0.1.0"

_ON_FIRST_USE = {
    "Linear": "numrnn.nn.linear",
    "SequenceModel": "numrnn.nn.model",
    "info": "numrnn._info",
    "losses": "numrnn",
    "optim": "numrnn",
    "plot": "numrnn",
    "warmup": "numrnn._warmup",
}
"""Name -> the module that has it; a name of the package itself is a module."""


def __getattr__(name: str) -> Any:
    """Import what is not needed by every user when it is first asked for."""
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _ON_FIRST_USE[name]
    if home == __name__:
        return importlib.import_module(f"{home}.{name}")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_ON_FIRST_USE])
