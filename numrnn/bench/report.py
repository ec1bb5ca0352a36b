"""The table of a measurement, and the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numrnn.bench.measure import Outcome

__all__ = ["as_json", "as_table"]


def _milliseconds(seconds: float) -> str:
    """Four significant digits, never in powers of ten."""
    value = seconds * 1e3
    digits = 4 if value < 1 else 3 if value < 10 else 2 if value < 100 else 1
    return f"{value:.{digits}f}"


def _columns(outcome: Outcome, names: Sequence[str], ragged: bool) -> list[str]:
    case = outcome.case
    cells = [case.cell, *case.sizes, case.mode]
    for name in names:
        timing = outcome.timings.get(name)
        cells += ["-", "-"] if timing is None else [_milliseconds(timing.minimum), _milliseconds(timing.median)]
    for statistic in ("minimum", "median"):
        ratio = outcome.ratio(statistic)
        cells.append("-" if ratio is None else f"{ratio[0]:.2f}")
    fastest = outcome.ratio("minimum")
    cells.append("-" if fastest is None else fastest[1])
    cells.append("-" if outcome.gflops is None else f"{outcome.gflops:.1f}")
    cells.append("-" if outcome.share_of_peak is None else f"{outcome.share_of_peak:.0%}")
    if ragged:
        over_dense = outcome.over_dense("minimum")
        cells.append("-" if over_dense is None else f"{over_dense:.2f}")
    return cells


def as_table(outcomes: Sequence[Outcome], absent: dict[str, str], *, threads: int) -> str:
    """Render the outcomes as plain text: one line a case, milliseconds (minimum and median) for each library."""
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.timings))
    ragged = list(dict.fromkeys(outcome.case for outcome in outcomes if outcome.case.shortest is not None))
    head = (
        ["", "", "", "", "", ""] + [part for name in names for part in (name, "")] + ["peer / ours", "", "", "", "of"]
    )
    units = ["cell", "N", "T", "I", "H", "pass"] + ["min", "median"] * len(names)
    units += ["min", "median", "fastest", "GFLOP/s", "peak"]
    if ragged:
        head.append("step /")
        units.append("dense")
    rows = [_columns(outcome, names, bool(ragged)) for outcome in outcomes]
    widths = [max(len(row[k]) for row in [units, *rows]) for k in range(len(units))]
    for k, title in enumerate(head[:-1]):  # a title spans its own column and the empty one after it
        if title and not head[k + 1]:
            widths[k + 1] += max(0, len(title) - widths[k] - widths[k + 1] - 2)

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.ljust(width) if units[k] in ("cell", "pass", "fastest") else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()

    def head_line() -> str:
        text = ""
        column = 0
        for title, width in zip(head, widths, strict=True):
            if title:
                text = text.ljust(column) + title
            column += width + 2
        return text

    dtypes = "/".join(dict.fromkeys(outcome.case.dtype for outcome in outcomes))
    versions = {name: timing.version for outcome in outcomes for name, timing in outcome.timings.items()}
    lines = [
        f"{dtypes}, {threads} thread{'s' * (threads != 1)} each, milliseconds a call; "
        + ", ".join(f"{name} {version}" for name, version in versions.items()),
        "",
        head_line(),
        line(units),
        *map(line, rows),
    ]
    peaks = [peak for outcome in outcomes for peak in outcome.peaks]
    if peaks:
        lines += [
            "",
            f"Peak: {max(peaks):.1f} GFLOP/s of {dtypes} fused multiply-adds, measured in between on as many threads.",
        ]
    if ragged:
        lines += [
            "",
            "step / dense: numrnn's fastest time over that of N sequences of length T, measured in turn with it, each",
            "divided by the sum of its lengths. 1.00 is time in proportion to the sum of lengths, which is",
            *dict.fromkeys(
                f"  {','.join(case.sizes[:2])}: {case.steps} of {case.dense_twin.steps} steps" for case in ragged
            ),
        ]
    remarks = [f"{name}: not measured: {reason}" for name, reason in absent.items()]
    remarks += sorted(
        {f"{name}: {o.case.mode}: not measured: {why}" for o in outcomes for name, why in o.refusals.items()}
        | {f"{n}: {o.twin.case}: not measured: {why}" for o in outcomes if o.twin for n, why in o.twin.refusals.items()}
    )
    remarks += [f"MISMATCH {name}: {o.case}: {why}" for o in outcomes for name, why in o.mismatches.items()]
    return "\n".join([*lines, *(["", *remarks] if remarks else [])])


def as_json(outcomes: Sequence[Outcome], absent: dict[str, str], *, threads: int) -> dict[str, Any]:
    """Return everything that was measured, all samples included."""
    return {
        "threads": threads,
        "absent": absent,
        "cases": [
            outcome.case.as_dict()
            | {
                "flops": outcome.case.flops,
                "steps": outcome.case.steps,
                "libraries": _libraries(outcome),
                "ratio": {statistic: outcome.ratio(statistic) for statistic in ("minimum", "median")},
                "gflops": outcome.gflops,
                "peak": max(outcome.peaks, default=None),
                "share_of_peak": outcome.share_of_peak,
                "refusals": outcome.refusals,
                "mismatches": outcome.mismatches,
                "dense_twin": None if outcome.twin is None else _libraries(outcome.twin),
                "over_dense": {statistic: outcome.over_dense(statistic) for statistic in ("minimum", "median")},
            }
            for outcome in outcomes
        ],
    }


def _libraries(outcome: Outcome) -> dict[str, Any]:
    return {
        name: {
            "version": timing.version,
            "minimum": timing.minimum,
            "median": timing.median,
            "difference": timing.difference,
            "seconds": timing.seconds,
        }
        for name, timing in outcome.timings.items()
    }
