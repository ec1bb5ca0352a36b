"""Run the scorecard: `python -m tests.scorecard [ids or groups] [--layers omp,workqueue] [--fast]`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterable

from .rows import GROUPS, LAYERS, Row, all_rows
from .running import Outcome, layers, run_on_layers, shared_cache


def chosen(names: list[str], fast: bool) -> list[Row]:
    """The rows that are named by id or group; all without names."""
    rows = all_rows()
    known = {*GROUPS, *rows}
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"scorecard: no row or group {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    wanted = [row for row in rows.values() if not names or row.id in names or row.id[0] in names]
    return [row for row in wanted if row.fast] if fast else wanted


def result_of(outcomes: Iterable[Outcome]) -> str:
    """What became of a row over all its layers: it passes if it passed wherever it could run, and it ran somewhere."""
    results = {outcome.result for outcome in outcomes}
    return next(result for result in ("failed", "passed", "skipped") if result in results)


def report(seen: dict[str, list[Outcome]]) -> bool:
    """Print passed/total by group and what did not pass; whether no row failed and every core row ran."""
    print()
    for optional, kind in ((False, "core"), (True, "optional")):
        for group, title in [*GROUPS.items(), ("", "all")]:
            rows = [o for id, o in seen.items() if id.startswith(group) and o[0].row.optional is optional]
            if rows:
                passed = sum(result_of(outcomes) == "passed" for outcomes in rows)
                print(f"{kind:9} {group or ' '} {title:26} {passed:2}/{len(rows)}")
    for result in ("failed", "skipped"):
        for outcome in (o for outcomes in seen.values() for o in outcomes if o.result == result):
            print(f"{result}: {outcome.name} {outcome.row.title}: {outcome.reason}")
    return all(
        result_of(outcomes) == "passed" or (outcomes[0].row.optional and result_of(outcomes) == "skipped")
        for outcomes in seen.values()
    )


def main(arguments: list[str] | None = None) -> int:
    """Run rows; 1 if one failed, or a core row could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.scorecard", description=__doc__)
    parser.add_argument("names", nargs="*", help="rows (T-01) or groups (T); all by default")
    parser.add_argument("--layers", default=",".join(LAYERS), help="threading layers, by default %(default)s")
    parser.add_argument("--fast", action="store_true", help="only the rows that CI runs")
    options = parser.parse_args(arguments)
    wanted = tuple(options.layers.split(","))
    if unknown := set(wanted) - set(LAYERS):
        parser.error(f"no layer {', '.join(unknown)}; there are {', '.join(LAYERS)}")
    rows = chosen(options.names, options.fast)
    seen: dict[str, list[Outcome]] = {}
    with shared_cache():
        for layer, reason in layers().items():
            print(f"threading layer {layer}: {reason or 'available'}")
        for row in rows:
            for outcome in run_on_layers(row, wanted):
                seen.setdefault(row.id, []).append(outcome)
                line = f"{outcome.name:15} {row.title[:70]:70} {outcome.result:8} {outcome.seconds:6.1f} s"
                print(line + (f"  {outcome.reason}" if outcome.reason else ""), flush=True)
    return 0 if report(seen) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the row that runs is ended with us
    sys.exit(main())
