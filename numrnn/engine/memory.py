"""Whether an array can exist on this machine, asked before it is allocated."""

from __future__ import annotations

import os
from functools import lru_cache

from numrnn._errors import explain

__all__ = ["readable", "require"]


@lru_cache(maxsize=1)
def _physical() -> int:
    """Bytes of memory in this machine; where it does not tell, what an address can reach."""
    try:
        return int(os.sysconf("SC_PAGE_SIZE")) * int(os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return 2**47


def readable(n_bytes: int) -> str:
    """Return bytes as a person reads them.

    Examples
    --------
    >>> readable(640), readable(3 * 2**20), readable(2**70)
    ('640 bytes', '3.0 MiB', '1.0 ZiB')
    """
    if n_bytes < 1024:
        return f"{n_bytes} bytes"
    size, unit = n_bytes / 1024, "KiB"
    for unit in ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB"):
        if size < 1024:
            break
        size /= 1024 if unit != "ZiB" else 1
    return f"{size:.1f} {unit}" if size < 1e6 else f"{size:.1e} {unit}"


def require(n_bytes: int, head: str, purpose: str, *advice: str) -> None:
    """Raise MemoryError if `n_bytes` exceed the machine's memory."""
    # an allocation of this size might "succeed" by overcommitting, and the process be killed when it is filled
    if n_bytes > _physical():
        raise MemoryError(
            explain(head, f"{purpose} needs {readable(n_bytes)}; this machine has {readable(_physical())}.", *advice)
        )
