"""The shapes of a call, explained in words."""

from __future__ import annotations

from typing import Any


def describe(layer: Any, shape: tuple[int, ...]) -> str:
    """Return the text of `layer.describe(shape)`."""
    return f"{layer!r}"
