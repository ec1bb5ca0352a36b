"""Optimisers: from gradients to new weights; and schedules of their learning rate."""

from numrnn.optim.adam import Adam, AdamW
from numrnn.optim.base import Optimizer
from numrnn.optim.clipping import clip_by_global_norm
from numrnn.optim.rmsprop import RMSprop
from numrnn.optim.schedules import ReduceOnPlateau, WarmupCosine
from numrnn.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "ReduceOnPlateau", "WarmupCosine", "clip_by_global_norm"]
