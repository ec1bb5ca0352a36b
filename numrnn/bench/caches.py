"""The sizes of this machine's caches, as far as the system tells them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Level", "from_folder", "levels"]

_FOLDER = Path("/sys/devices/system/cpu/cpu0")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_ASSUMED = (32 << 10, 1 << 20, 16 << 20)
_NAMES = ("SC_LEVEL1_DCACHE_SIZE", "SC_LEVEL2_CACHE_SIZE", "SC_LEVEL3_CACHE_SIZE")


@dataclass(frozen=True, slots=True)
class Level:
    """One cache: `size` in bytes, of each core, or of all of them where it is `shared`."""

    name: str
    size: int
    shared: bool

    def room(self, threads: int) -> int:
        """What each of several threads may have of it, where each reads something else."""
        return self.size // threads if self.shared else self.size


def _size(text: str) -> int:
    """Read `32K` as bytes."""
    unit = _UNITS.get(text[-1:], 1)
    return int(text[:-1] if unit > 1 else text) * unit


def _processors(text: str) -> set[int]:
    """Read `0-3,8` as numbers."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def from_folder(folder: Path) -> tuple[Level, ...]:
    """Read a processor's folder under Linux's `/sys`; the nearest cache comes first.

    Raises
    ------
    OSError, ValueError
        It is not there, or says something else than expected.
    """
    siblings = _processors((folder / "topology/thread_siblings_list").read_text().strip())
    found = {}
    for cache in sorted((folder / "cache").glob("index*")):
        if (cache / "type").read_text().strip() == "Instruction":
            continue
        number = int((cache / "level").read_text())
        shared = not _processors((cache / "shared_cpu_list").read_text().strip()) <= siblings
        found[number] = Level(f"L{number}", _size((cache / "size").read_text().strip()), shared)
    if not found:
        raise ValueError(f"{folder} names no cache")
    return tuple(found[number] for number in sorted(found))


def _from_limits(ask: Callable[[str], int]) -> tuple[Level, ...]:
    """What the C library knows: sizes only; the last of three levels is taken as shared."""
    sizes = [ask(name) for name in _NAMES]
    if sizes[0] <= 0:
        raise ValueError("no cache is known")
    return tuple(Level(f"L{n}", size, n == len(sizes)) for n, size in enumerate(sizes, 1) if size > 0)


def levels() -> tuple[tuple[Level, ...], str]:
    """Return the caches, the nearest first, and where their sizes come from."""
    try:
        return from_folder(_FOLDER), "from the system"
    except (OSError, ValueError):
        pass
    try:
        return _from_limits(os.sysconf), "from the C library"
    except (AttributeError, OSError, ValueError):  # no such function, or no such name
        return tuple(Level(f"L{n}", size, n == len(_ASSUMED)) for n, size in enumerate(_ASSUMED, 1)), "assumed"
