"""Training a model: batches, epochs, checkpoints, and what is told on the way."""

from __future__ import annotations

from numrnn.training.fitting import fit
from numrnn.training.history import History

__all__ = ["History", "fit"]
