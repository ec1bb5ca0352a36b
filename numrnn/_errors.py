"""How an error reads: whose it is, what is wrong, what was seen, what to do."""

from __future__ import annotations

__all__ = ["explain", "kind_of"]


def explain(head: str, problem: str, *details: str) -> str:
    """Return the text of an error: `head: problem.`, then one indented line a detail, the way out last.

    Examples
    --------
    >>> print(explain("LSTM(input_size=8)", "`x` has 12 features, expected 8.", "x.shape = (32, 100, 12)."))
    LSTM(input_size=8): `x` has 12 features, expected 8.
      x.shape = (32, 100, 12).
    """
    return "\n  ".join([f"{head}: {problem}", *details])


def kind_of(value: object) -> str:
    """What a refused argument was: its type and, where that is short, its value."""
    shown = repr(value)
    name = type(value).__name__
    return name if len(shown) > 40 or "\n" in shown else f"{name} {shown}"
