"""Named weights that nothing changes behind a layer's back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from numrnn._errors import explain
from numrnn._types import Array, Parameters, Shape
from numrnn.engine.arrays import ready, real_array

__all__ = ["HasParameters", "LoadReport", "freeze", "placeholders"]


class LoadReport(NamedTuple):
    """Names that `load_state_dict(strict=False)` passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def freeze(array: Array) -> Array:
    """A read-only view of an array of ours, which cannot be made writable again."""
    array.flags.writeable = False
    return array.view()


def placeholders(shapes: Mapping[str, Shape], dtype: np.dtype[Any]) -> dict[str, Array]:
    """Zeros that take no memory, in the place of weights which are loaded next."""
    return {name: np.broadcast_to(np.zeros((), dtype), shape) for name, shape in shapes.items()}


class HasParameters:
    """Named weights, and the only ways to change them.

    A subclass sets `_parameters`, complete and frozen; names, shapes and dtype never change after that, and every
    change of values puts a new dict in its place.
    """

    _parameters: dict[str, Array]

    @property
    def _head(self) -> str:
        """How errors name the object."""
        return type(self).__name__

    @property
    def parameters(self) -> dict[str, Array]:
        """The weights by name, read-only, in PyTorch's order; `set_parameters` changes them."""
        return dict(self._parameters)

    @property
    def num_parameters(self) -> int:
        """Number of trainable numbers."""
        return sum(value.size for value in self._parameters.values())

    def set_parameters(self, parameters: Parameters) -> None:
        """Replace some or all weights.

        Parameters
        ----------
        parameters : mapping of str to array
            New values by name, in the shapes of `parameters`; cast to the layer's dtype and copied.

        Raises
        ------
        ValueError
            An unknown name or a wrong shape. Nothing is changed then.
        TypeError
            Something that is no array of real numbers. Nothing is changed then.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> layer = numrnn.GRU(2, 3)
        >>> layer.set_parameters({"bias_ih_l0": np.zeros(9)})
        >>> float(layer.parameters["bias_ih_l0"].sum())
        0.0
        """
        self._check_mapping("set_parameters", parameters)
        unexpected = [name for name in parameters if name not in self._parameters]
        if unexpected:
            self._refuse_names([], unexpected)
        self._replace(parameters)

    def state_dict(self) -> dict[str, Array]:
        """Return copies of the weights by name.

        Returns
        -------
        dict of str to array
            The caller's own, writable.

        Examples
        --------
        >>> import numrnn
        >>> list(numrnn.RNN(2, 3).state_dict())
        ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0']
        """
        return {name: value.copy() for name, value in self._parameters.items()}

    def load_state_dict(self, state_dict: Parameters, strict: bool = True) -> LoadReport:
        """Load all weights, for example PyTorch's `module.state_dict()`.

        Parameters
        ----------
        state_dict : mapping of str to array
            Values by name; cast to the layer's dtype and copied.
        strict : bool
            Whether every name must be there, and no other.

        Returns
        -------
        LoadReport
            `missing_keys` and `unexpected_keys`, both empty if `strict`.

        Raises
        ------
        ValueError
            Missing or unexpected names, all of them named, or a wrong shape. Nothing is changed then.
        TypeError
            Something that is no array of real numbers. Nothing is changed then.

        Examples
        --------
        >>> import numrnn
        >>> first, second = numrnn.LSTM(2, 3, seed=1), numrnn.LSTM(2, 3, seed=2)
        >>> second.load_state_dict(first.state_dict())
        LoadReport(missing_keys=[], unexpected_keys=[])
        """
        self._check_mapping("load_state_dict", state_dict)
        missing = [name for name in self._parameters if name not in state_dict]
        unexpected = [name for name in state_dict if name not in self._parameters]
        if strict and (missing or unexpected):
            self._refuse_names(missing, unexpected)
        self._replace({name: value for name, value in state_dict.items() if name in self._parameters})
        return LoadReport(missing, unexpected)

    def _check_mapping(self, method: str, parameters: object) -> None:
        if not isinstance(parameters, Mapping):
            raise TypeError(
                explain(
                    self._head,
                    f"`{method}` takes a mapping of names to arrays, got {type(parameters).__name__}.",
                    f"Names: {', '.join(self._parameters)}.",
                )
            )

    def _refuse_names(self, missing: list[str], unexpected: list[str]) -> None:
        """Raise for every name that should or should not be there."""
        parts = [
            f"{kind} {', '.join(map(str, names))}"
            for kind, names in (("missing", missing), ("unexpected", unexpected))
            if names
        ]
        raise ValueError(
            explain(
                self._head, f"the names do not match: {'; '.join(parts)}.", f"Expected: {', '.join(self._parameters)}."
            )
        )

    def _replace(self, parameters: Parameters) -> None:
        """Check all new values, then put them in place at once."""
        fresh = dict(self._parameters)
        for name, value in parameters.items():
            old = fresh[name]
            array = real_array(value, self._head, name)
            if array.shape != old.shape:
                turned = array.shape[::-1] == old.shape
                raise ValueError(
                    explain(
                        self._head,
                        f"`{name}` has shape {array.shape}, expected {old.shape}.",
                        f"It looks transposed: pass {name}.T." if turned else "Nothing was changed.",
                    )
                )
            fresh[name] = freeze(np.array(ready(array, old.dtype, self._head, name)))
        self._parameters = fresh

    def _adopt(self, fresh: dict[str, Array]) -> None:
        """Put arrays in place that were made for this: of the right shape and dtype, and nobody else's."""
        self._parameters = self._parameters | {name: freeze(array) for name, array in fresh.items()}
