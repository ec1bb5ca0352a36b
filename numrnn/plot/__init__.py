"""Pictures; needs matplotlib, which the extra `plot` brings."""

from __future__ import annotations

from numrnn.plot.benchmarks import roofline
from numrnn.plot.curves import gradient_norms, history
from numrnn.plot.frame import check
from numrnn.plot.heat_maps import confusion, gates, states
from numrnn.plot.norms import norms_over_time
from numrnn.plot.series import forecast, predictions

__all__ = [
    "check",
    "confusion",
    "forecast",
    "gates",
    "gradient_norms",
    "history",
    "norms_over_time",
    "predictions",
    "roofline",
    "states",
]
