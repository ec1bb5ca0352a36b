"""How long do two epochs of a whole training take, beside a plain loop in PyTorch?"""

from functools import cache

from benchmarks.common import CELLS  # isort: skip  # sets the environment before NumPy is imported
import numpy as np

from benchmarks.training_runs import Numrnn, Task, Torch

TRAINERS = {"numrnn": Numrnn, "torch": Torch}


@cache
def trainer(backend, cell, steps):
    """A trainer that is warm; 960 rows of 8 features, ten classes that follow from the first step."""
    if backend == "torch":
        try:
            import torch  # noqa: F401
        except ImportError as error:
            raise NotImplementedError("torch is not installed") from error
    rng = np.random.default_rng(0)
    x = rng.standard_normal((960, steps, 8), np.float32)
    labels = x[:, 0].argmax(axis=-1) + 2 * (x[:, 0, 0] > 1.0)
    data = (list(x), labels.astype(np.int64))
    made = TRAINERS[backend](cell.upper(), Task(data, data, 2, 1e-3, 0.0))
    made.train()
    return made


class Fit:
    params = (list(TRAINERS), CELLS, [8, 100])
    param_names = ("backend", "cell", "steps")
    version = "1"
    timeout = 300

    def setup(self, backend, cell, steps):
        self.trainer = trainer(backend, cell, steps)

    def time_train(self, backend, cell, steps):
        self.trainer.train()
