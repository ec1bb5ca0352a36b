"""Clipping of gradients."""

from __future__ import annotations

import math

from numrnn._errors import explain
from numrnn.nn.arguments import number
from numrnn.nn.gradients import Gradients

__all__ = ["clip_by_global_norm"]


def clip_by_global_norm(gradients: Gradients, max_norm: float) -> tuple[Gradients, float]:
    """Scale gradients down where the norm of all parameters' gradients together exceeds `max_norm`.

    Parameters
    ----------
    gradients : Gradients
        What a pullback returned; not changed.
    max_norm : float
        More than 0.

    Returns
    -------
    gradients : Gradients
        The same object where nothing had to be done; otherwise all of it scaled by one factor, x and the states
        included. A norm that is NaN or infinite cannot be scaled away: the gradients come back as they are.
    norm : float
        Before clipping: `gradients.norm()`.

    Raises
    ------
    TypeError
        Something that is no `Gradients`.
    ValueError
        `max_norm` is not a positive number.

    Notes
    -----
    Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> result, pullback = numrnn.GRU(2, 3).vjp(np.ones((5, 1, 2)))
    >>> clipped, norm = numrnn.optim.clip_by_global_norm(pullback(np.ones_like(result.output)), 0.1)
    >>> norm > 0.1, round(clipped.norm(), 6)
    (True, 0.1)
    """
    head = "clip_by_global_norm"
    if not isinstance(gradients, Gradients):
        advice = "Pass what a pullback returned."
        raise TypeError(explain(head, f"`gradients` should be a Gradients, got {type(gradients).__name__}.", advice))
    limit = number(head, "max_norm", max_norm)
    if limit <= 0.0:
        raise ValueError(explain(head, f"`max_norm` should be more than 0, got {limit}."))
    norm = gradients.norm()
    if norm <= limit or not math.isfinite(norm):
        return gradients, norm
    return gradients * (limit / norm), norm
