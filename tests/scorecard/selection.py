"""Rows that ordinary tests show: those tests, run alone; none may be missing, skipped or failed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class _Outcomes:
    """Counts what became of every test."""

    def __init__(self) -> None:
        self.of: dict[str, Counter[str]] = {}
        self.reasons: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.of.setdefault(report.nodeid.partition("[")[0], Counter())[report.outcome] += 1
            if report.outcome != "passed":
                self.reasons.append(f"{report.nodeid} {report.outcome}: {report.longreprtext[-300:]}")


def run_tests(tests: tuple[str, ...]) -> None:
    """Run tests by their names; a name stands for all its parameters."""
    outcomes = _Outcomes()
    arguments = ["-q", "--no-header", "-p", "no:cacheprovider", f"--rootdir={ROOT}", *(str(ROOT / t) for t in tests)]
    code = pytest.main(arguments, plugins=[outcomes])
    assert code == 0, f"pytest ended with {code}: {' | '.join(outcomes.reasons)}"
    assert not outcomes.reasons, " | ".join(outcomes.reasons)
    for test in tests:
        assert any(seen.startswith(test.partition("[")[0]) for seen in outcomes.of), f"{test} did not run"
