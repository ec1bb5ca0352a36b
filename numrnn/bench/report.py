"""The table of a measurement, that of its roofline, and both as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numrnn.bench.ceilings import Ceilings
from numrnn.bench.measure import Outcome
from numrnn.bench.roofline import Machine

__all__ = ["as_json", "as_roofline", "as_table"]


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


def as_roofline(outcomes: Sequence[Outcome]) -> str:
    """Render how near each case comes to its bound, what the bound is, and the machine's ceilings, as plain text."""
    head = [
        "cell",
        "N",
        "T",
        "I",
        "H",
        "pass",
        "ms",
        "bound",
        "share",
        "median",
        "bound by",
        "of it",
        "threads",
        "act.",
    ]
    rows = []
    for outcome in outcomes:
        ours, bound = outcome.timings.get("numrnn"), outcome.bound
        cells = [outcome.case.cell, *outcome.case.sizes, outcome.case.mode]
        shares = [outcome.share_of_bound(statistic) for statistic in ("minimum", "median")]
        if ours is None or bound is None:
            rows.append(cells + ["-"] * (len(head) - len(cells)))
            continue
        cells += [_milliseconds(ours.minimum), _milliseconds(bound.seconds)]
        cells += ["-" if share is None else f"{share:.0%}" for share in shares]
        cells += [bound.name, f"{bound.parts[bound.name] / bound.seconds:.0%}", str(bound.threads)]
        rows.append([*cells, f"{bound.activations / ours.minimum:.0%}"])
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    left = ("cell", "pass", "bound by")
    lines = [
        "  ".join(
            cell.ljust(width) if title in left else cell.rjust(width)
            for title, cell, width in zip(head, row, widths, strict=True)
        ).rstrip()
        for row in [head, *rows]
    ]
    machines = {outcome.case.dtype: outcome.machine for outcome in outcomes if outcome.machine is not None}
    return "\n".join(
        [
            "Roofline: a bound that numrnn's time cannot undercut, and its share of the fastest and the median time.",
            "It has the products, the weights that they read, launches and meetings of threads, but no activations:",
            '"act." is what they would take by themselves, as a share of the fastest time.',
            "",
            *lines,
            *(line for dtype, machine in machines.items() for line in ["", *_ceilings(dtype, machine)]),
        ]
    )


def _ceilings(dtype: str, machine: Machine) -> list[str]:
    caches = ", ".join(
        f"{level.name} {level.size / 2**20:g} MiB" + " for all cores" * level.shared
        if level.size >= 1 << 20
        else f"{level.name} {level.size / 2**10:g} KiB"
        for level in machine.levels
    )
    lines = [f"Caches: {caches} ({machine.source})."]
    for n in sorted(machine.ceilings):
        each: Ceilings = machine.ceilings[n]
        reads = ", ".join(f"{name} {rate * 1e-9:.0f}" for name, rate in each.read.items())
        waits = f"a launch {each.launch * 1e6:.1f} us, "
        if each.meeting:
            waits += f"a meeting {each.meeting * 1e9:.0f} ns, "
        lines += [
            f"{n} thread{'s' * (n != 1)}: {each.flops * 1e-9:.1f} GFLOP/s ({dtype}), read GB/s {reads};",
            f"    {waits}a dependent multiply-add {each.multiply_add * 1e9:.2f} ns, "
            f"an activation {each.activation * 1e9:.2f} ns.",
        ]
    return lines


def as_json(outcomes: Sequence[Outcome], absent: dict[str, str], *, threads: int) -> dict[str, Any]:
    """Return everything that was measured, all samples included."""
    machines = {outcome.case.dtype: outcome.machine for outcome in outcomes if outcome.machine is not None}
    return {
        "threads": threads,
        "absent": absent,
        "machines": {dtype: machine.as_dict() for dtype, machine in machines.items()},
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
                "bound": None if outcome.bound is None else outcome.bound.as_dict(),
                "share_of_bound": {name: outcome.share_of_bound(name) for name in ("minimum", "median")},
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
