"""What errors quote of a file that may hold anything: short, and printable."""

from __future__ import annotations

__all__ = ["said", "shown"]

_MOST = 60
_MOST_SAID = 200


def shown(value: object) -> str:
    """A value as an error shows it.

    Examples
    --------
    >>> shown("gelu"), shown(100 * [0])
    ("'gelu'", '[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,...')
    """
    try:
        text = repr(value)
    except RecursionError:
        return f"a {type(value).__name__} nested too deeply"
    return text if len(text) <= _MOST else f"{text[: _MOST - 3]}..."


def said(error: Exception) -> str:
    """What an exception of a library says, as the end of a sentence.

    Examples
    --------
    >>> said(KeyError("no object.")), said(RuntimeError())
    ('no object', 'RuntimeError')
    """
    text = str(error.args[-1] if error.args else "").rstrip(".")  # str() of a KeyError adds quotes
    return text[:_MOST_SAID].encode(errors="backslashreplace").decode() or type(error).__name__
