"""Losses: a value, and its gradient with respect to the prediction."""

from numrnn.losses.classes import cross_entropy, log_softmax, softmax
from numrnn.losses.numbers import binary_cross_entropy, huber, mae, mse
from numrnn.losses.quantiles import quantile

__all__ = ["binary_cross_entropy", "cross_entropy", "huber", "log_softmax", "mae", "mse", "quantile", "softmax"]
