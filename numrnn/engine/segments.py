"""Recomputation: forward keeps outputs and the cell states at the begin of segments, backward rebuilds the rest.

A segment is a number of backward's time blocks, so that sums over steps are cut as they are without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from numrnn.engine.geometry import Batch
from numrnn.engine.plan import Plan
from numrnn.engine.workspace import Workspace

__all__ = ["Segments"]


@dataclass(frozen=True, slots=True)
class Segments:
    """The cut of a call's steps into segments, each (first step, step behind the last)."""

    bounds: tuple[tuple[int, int], ...]
    space: Workspace  # of one layer and one segment, steps in the order in which a direction processes them

    @classmethod
    def of(cls, plan: Plan, batch: Batch, recompute: bool | int) -> Segments:
        """Cut into segments of about `recompute` steps; True makes what is kept and what is rebuilt equally large."""
        least = int(recompute)
        if recompute is True:
            least = math.isqrt(max(1, batch.steps // (len(plan.spec.saved) + 1)))
        bounds: list[tuple[int, int]] = []
        for begin, end in batch.backward_blocks():
            if bounds and bounds[-1][1] - bounds[-1][0] < least:
                bounds[-1] = (bounds[-1][0], end)
            else:
                bounds.append((begin, end))
        longest = max((end - begin for begin, end in bounds), default=0)
        return cls(tuple(bounds), Workspace.of(plan, keep=True, segment=longest))
