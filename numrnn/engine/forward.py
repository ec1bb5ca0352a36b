"""Forward through a stack of layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn.engine import by_reference
from numrnn.engine.panels import Panels
from numrnn.engine.plan import Plan

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Run:
    """What a forward pass gives: `saved` is for `backward.run` and None where nothing was kept."""

    output: Array | None
    h_n: Array
    c_n: Array | None
    saved: Any


def run(plan: Plan, panels: Panels, x: Array, h_0: Array | None, c_0: Array | None, *, keep: bool, last: bool = False) -> Run:
    """Run a stack of layers over a validated input."""
    trace, output, h_n, c_n = by_reference.forward(plan, panels, x, h_0, c_0)
    return Run(None if last else output, h_n, c_n, (plan, trace) if keep else None)
