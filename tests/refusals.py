"""How a refusal is written down and checked: the call, the error's type, and its whole text."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

import numrnn
from numrnn.engine import memory

LSTM = numrnn.LSTM(8, 64, seed=0)
GRU = numrnn.GRU(8, 64, seed=0)
BATCH_FIRST = numrnn.LSTM(8, 64, batch_first=True, seed=0)
TWO_LAYERS = numrnn.GRU(8, 64, num_layers=2, seed=0)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape)


X = zeros(5, 3, 8)


@dataclass(frozen=True)
class Refusal:
    name: str
    call: Callable[[], object]
    error: type[Exception]
    text: str

    def __str__(self) -> str:
        return self.name.replace(" ", "_")

    def check(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the call on a machine of 16 GiB; the error must be of this type itself, with this text."""
        monkeypatch.setattr(memory, "_physical", lambda: 2**34)
        with pytest.raises(self.error) as caught:
            self.call()
        assert type(caught.value) is self.error
        assert str(caught.value) == self.text


def refusal(name: str, call: Callable[[], object], error: type[Exception], *lines: str) -> Refusal:
    return Refusal(name, call, error, "\n  ".join(lines))
