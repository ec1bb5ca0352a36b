"""What a measured library offers: a version, and for each problem a call without arguments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from numrnn.bench.cases import Problem

__all__ = ["Job", "Peer", "PeerMissingError"]


class PeerMissingError(ImportError):
    """A library that was asked for is not installed."""


@dataclass(frozen=True, slots=True)
class Job:
    """A problem that is set up in a library.

    Attributes
    ----------
    call
        What is timed: one whole call, its results computed when it returns.
    arrays
        Turns what `call` returned into NumPy arrays under numrnn's names: `output` (T, N, H), `h_n`, `c_n` (1, N, H),
        and for training `x` (the gradient, (T, N, I)) and each parameter's gradient under PyTorch's name and shape.
    """

    call: Callable[[], Any]
    arrays: Callable[[Any], dict[str, NDArray[Any]]]


class Peer(ABC):
    """A library, imported and bound to a number of threads."""

    name: ClassVar[str]
    version: str

    @abstractmethod
    def prepare(self, problem: Problem) -> Job:
        """Set up a problem; NotImplementedError says what the library cannot do."""
