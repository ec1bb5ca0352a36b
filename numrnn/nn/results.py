"""What a recurrent layer returns: PyTorch's order, readable names, the same object for every cell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from numrnn._types import Array, State
from numrnn.nn.gradients import shape_of
from numrnn.nn.internals import Internals

__all__ = ["Result"]


class Result:
    """Outputs and last states of a recurrent layer.

    Unpacks as in PyTorch: `output, (h_n, c_n) = lstm(x)`, `output, h_n = gru(x)`.
    T time, N batch, H hidden_size, L num_layers, D num_directions, H_out proj_size or H. Of one unbatched sequence no
    array has an axis N.

    Attributes
    ----------
    output : array (T, N, D*H_out), or (N, T, D*H_out) if batch_first; None from `last`
        h_t of the top layer at every step, forward half, then reverse half; 0 at padded steps. Of one sequence
        (T, D*H_out), of a list of sequences a list, of a packed sequence a packed sequence.
    h_n : array (L*D, N, H_out)
        The last hidden state of every layer and direction: row layer * D + direction.
    internals : Internals or None
        Gates and states of every step, where they were asked for.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> result = numrnn.LSTM(4, 8, num_layers=2)(np.zeros((10, 3, 4)))
    >>> result.output.shape, result.h_n.shape, result.c_n.shape
    ((10, 3, 8), (2, 3, 8), (2, 3, 8))
    >>> bool(np.array_equal(result.output[-1], result.h_n[-1]))
    True
    """

    __slots__ = ("_c_n", "_num_directions", "h_n", "internals", "output")

    output: Any
    h_n: Array
    internals: Internals | None

    def __init__(
        self,
        output: Any,
        h_n: Array,
        c_n: Array | None,
        num_directions: int = 1,
        internals: Internals | None = None,
    ) -> None:
        self.output = output
        self.h_n = h_n
        self._c_n = c_n
        self._num_directions = num_directions
        self.internals = internals

    @property
    def c_n(self) -> Array:
        """The last cell state of every layer and direction (L*D, N, H); no part of it is in `output`."""
        if self._c_n is None:
            raise AttributeError("This result has no c_n: RNN and GRU have no cell state, their state is h_n.")
        return self._c_n

    @property
    def state(self) -> State:
        """What continues the sequence when it is passed to the next call: h_n, or (h_n, c_n)."""
        return self.h_n if self._c_n is None else (self.h_n, self._c_n)

    @property
    def final_hidden(self) -> Array:
        """h_n with its first axis unfolded: (L, D, N, H_out)."""
        return self._unfold(self.h_n)

    @property
    def final_cell(self) -> Array:
        """c_n with its first axis unfolded: (L, D, N, H)."""
        if self._c_n is None:
            raise AttributeError("This result has no final_cell: RNN and GRU have no cell state; see final_hidden.")
        return self._unfold(self._c_n)

    @property
    def last_output(self) -> Array:
        """The top layer's last hidden state, directions side by side: (N, D*H_out).

        The forward half is from each row's own last step, the reverse half from its first, where that direction ends.
        """
        if self._num_directions == 1:
            top: Array = self.h_n[-1]
            return top
        side_by_side: Array = np.concatenate(list(self.h_n[-self._num_directions :]), axis=-1)
        return side_by_side

    def _unfold(self, state: Array) -> Array:
        layers = len(state) // self._num_directions
        return state.reshape(layers, self._num_directions, *state.shape[1:])

    def __iter__(self) -> Iterator[Any]:
        yield self.output
        yield self.state

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return (self.output, self.state)[index]

    def __repr__(self) -> str:
        parts = [("output", self.output), ("h_n", self.h_n), ("c_n", self._c_n)]
        return f"Result({', '.join(f'{name} {shape_of(value)}' for name, value in parts if value is not None)})"
