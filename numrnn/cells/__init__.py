"""Cells of your own, in the engine of RNN, LSTM and GRU.

`define` takes what a cell does to one hidden unit, forward and backward, and returns a layer's class: with batches,
lengths, layers, directions, streams, threads and gradients. The other names are what the two functions compute with,
besides `+ - * /`.
"""

from numrnn.cells.checking import check as check
from numrnn.cells.definition import define as define
from numrnn.kernels.pointwise import absolute as absolute
from numrnn.kernels.pointwise import fma as fma
from numrnn.kernels.pointwise import maximum as maximum
from numrnn.kernels.pointwise import minimum as minimum
from numrnn.kernels.pointwise import select_less as select_less
from numrnn.kernels.pointwise import sigmoid as sigmoid
from numrnn.kernels.pointwise import tanh as tanh

__all__ = ["absolute", "check", "define", "fma", "maximum", "minimum", "select_less", "sigmoid", "tanh"]
