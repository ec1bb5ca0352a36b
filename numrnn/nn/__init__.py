"""Layers: what users hold in their hands."""

from numrnn.nn.gradients import Gradients as Gradients
from numrnn.nn.layers import GRU as GRU
from numrnn.nn.layers import LSTM as LSTM
from numrnn.nn.layers import RNN as RNN
from numrnn.nn.results import Result as Result
