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
    >>> readable(640), readable(3 * 2**20), readable(2**90)
    ('640 bytes', '3.0 MiB', 'about 10^27 bytes')
    """
    if n_bytes < 1024:
        return f"{n_bytes} bytes"
    for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"), start=1):
        if n_bytes < 1024 ** (power + 1):
            return f"{n_bytes / 1024**power:.1f} {unit}"
    return f"about 10^{len(str(n_bytes)) - 1} bytes"


def require(n_bytes: int, head: str, purpose: str, *advice: str) -> None:
    """Raise MemoryError if `n_bytes` exceed the machine's memory."""
    # an allocation of this size might "succeed" by overcommitting, and the process be killed when it is filled
    if n_bytes > _physical():
        raise MemoryError(
            explain(
                head, f"{readable(n_bytes)} needed for {purpose}, this machine has {readable(_physical())}.", *advice
            )
        )
