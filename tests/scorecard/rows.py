"""What a row of the scorecard is, and the list of all of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

GROUPS = {
    "T": "threads",
    "P": "processes",
    "C": "cache and start-up",
    "N": "numbers",
    "I": "inputs",
    "S": "state, signals, resources",
    "F": "files and security",
}
LAYERS = ("workqueue", "omp", "tbb")

# rows of a group stand in these modules
_MODULES = ("threads", "processes", "caches", "numerics", "inputs", "memory", "resources", "files")

Program = Callable[[], None]


class CannotRunError(Exception):
    """The row cannot run here; the text says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One case: a program that returns when what must happen has happened, and raises otherwise.

    `optional` rows want a package, a machine or a night. `fast` rows run in CI: True, or the threading layer they run
    on there. `layers` rows run once on each threading layer that can be had. `own_cache` rows find no compiled kernel.
    `seconds` is the time limit.
    """

    id: str
    title: str
    program: Program
    optional: bool = False
    fast: bool | str = False
    layers: tuple[str, ...] = ()
    seconds: int = 120
    own_cache: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    tests: tuple[str, ...] = ()


ROWS: dict[str, Row] = {}


def row(id: str, title: str, **options: Any) -> Callable[[Program], Program]:
    """Enter a program into the scorecard."""

    def enter(program: Program) -> Program:
        assert id not in ROWS, id
        ROWS[id] = Row(id, title, program, **options)
        return program

    return enter


def shown_by(id: str, title: str, *tests: str, **options: Any) -> None:
    """Enter a row that ordinary tests show, named as pytest names them."""
    from .selection import run_tests

    assert id not in ROWS, id
    ROWS[id] = Row(id, title, lambda: run_tests(tests), tests=tests, **{"seconds": 600} | options)


def all_rows() -> dict[str, Row]:
    """Every row, in the order of the groups."""
    for module in _MODULES:
        importlib.import_module(f".{module}", __package__)
    return dict(sorted(ROWS.items(), key=lambda item: (list(GROUPS).index(item[0][0]), item[0])))
