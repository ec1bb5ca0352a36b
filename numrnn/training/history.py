"""What a training run recorded, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

from numrnn._errors import explain

__all__ = ["History"]


@final
class History:
    """The course of a training run: a list for each quantity, with one number an epoch.

    Attributes
    ----------
    seed : int
        Of the order of rows and of dropout; passed to `fit` again it repeats the run.
    stopped : str or None
        Why the run ended before its last epoch, or None.

    Notes
    -----
    `history["loss"]` is the mean loss over an epoch's batches, each computed before its step. "val_loss" is there if
    validation data were given, "gradient_norm" (the mean over batches, before clipping) if `max_norm` was. "lr" is the
    learning rate at the end of an epoch, "seconds" its duration. `dict(history)` gives all lists; `len(history)` is
    the number of whole epochs.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> model = numrnn.SequenceModel(numrnn.GRU(1, 4, seed=0), numrnn.Linear(4, 1, seed=0))
    >>> adam = numrnn.optim.Adam(model, lr=0.01)
    >>> x, y = np.ones((5, 8, 1)), np.zeros((8, 1))
    >>> history = numrnn.fit(model, x, y, loss=numrnn.losses.mse, optimizer=adam, epochs=3, progress=False, seed=0)
    >>> len(history), sorted(history.keys())
    (3, ['loss', 'lr', 'seconds'])
    >>> history["loss"][-1] < history["loss"][0]
    True
    """

    __slots__ = ("_columns", "seed", "stopped")

    def __init__(self, seed: int, columns: dict[str, list[float]] | None = None) -> None:
        self.seed = seed
        self.stopped: str | None = None
        self._columns: dict[str, list[float]] = {} if columns is None else columns

    def __getitem__(self, name: str) -> list[float]:
        if name not in self._columns:
            known = f"It has {', '.join(self._columns) or 'nothing, for no epoch has ended'}."
            raise KeyError(explain("History", f"{name!r} was not recorded.", known))
        return self._columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __len__(self) -> int:
        return len(self._columns.get("loss", ()))

    def keys(self) -> list[str]:
        """Names of what was recorded."""
        return list(self._columns)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def _restore(self, seed: int, columns: dict[str, list[float]], stopped: str | None) -> None:
        """Become the history of a run that goes on."""
        self.seed, self._columns, self.stopped = seed, columns, stopped

    def _append(self, row: dict[str, float]) -> None:
        """Add one epoch."""
        for name, value in row.items():
            self._columns.setdefault(name, []).append(float(value))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, History):
            return NotImplemented
        return self._key() == other._key()

    __hash__ = None  # type: ignore[assignment]

    def _key(self) -> tuple[Any, ...]:
        columns = {name: values for name, values in self._columns.items() if name != "seconds"}
        return self.seed, self.stopped, columns

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in self._columns.items() if name != "seconds")
        stopped = f", {self.stopped}" if self.stopped else ""
        return f"<History of {len(self)} epochs{': ' + last if last else ''}{stopped}>"
