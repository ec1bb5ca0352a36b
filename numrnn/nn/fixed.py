"""Objects whose constructor says everything: nothing but their weights changes afterwards."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Self

import numpy as np

from numrnn._errors import explain
from numrnn.nn.parameters import HasParameters, freeze

__all__ = ["Fixed", "arguments"]


class Fixed(HasParameters):
    """An object whose constructor's arguments are its attributes; they are fixed, and `repr` is the call that makes it.

    A subclass puts its attributes into `__dict__`, and derives in `_connect` what `_derived` names: that is not part of
    a pickle.
    """

    _derived: ClassVar[tuple[str, ...]] = ()
    _kind: ClassVar[str] = "layer"

    _is_blank = False

    @classmethod
    def _blank(cls, *given: Any, **named: Any) -> Self:
        """Make what the constructor makes without drawing weights, for a caller who loads them all next."""
        made = cls.__new__(cls)
        made.__dict__["_is_blank"] = True
        made.__init__(*given, **named)  # type: ignore[misc]
        del made.__dict__["_is_blank"]
        return made

    def _connect(self) -> None:
        """Set the attributes that are not part of a pickle."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dict__ and not name.startswith("_"):
            problem = f"`{name}` is fixed when the {self._kind} is made."
            advice = f"Make a new {self._kind}; load_state_dict moves weights."
            raise AttributeError(explain(self._head, problem, advice))
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        parts = []
        for name, argument in arguments(type(self)):
            value = getattr(self, name)
            if argument.default is argument.empty or value != argument.default:
                parts.append(f"{name}={value.name if isinstance(value, np.dtype) else value!r}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name not in self._derived}
        return kept | {"_parameters": {name: np.array(value) for name, value in self._parameters.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._parameters = {name: freeze(value) for name, value in self._parameters.items()}
        self._connect()


def arguments(made: type) -> list[tuple[str, inspect.Parameter]]:
    """The arguments of a class's constructor."""
    return list(inspect.signature(made).parameters.items())
