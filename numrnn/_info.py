"""What a report of a problem, or of a speed, should say about where it was seen."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import numpy as np

import numrnn
from numrnn import _jit
from numrnn._threads import get_num_threads
from numrnn.kernels import simd

__all__ = ["info"]


def info() -> dict[str, Any]:
    """Return versions, processor, vector width, threads and cache folder.

    Returns
    -------
    dict
        Names and plain values, in the order in which `numrnn info` prints them: versions (`numrnn`, `python`, `numpy`,
        `scipy`, `numba`, `llvmlite`), `platform`, what kernels are compiled for (`cpu` and the entries after it),
        `num_threads`, and `cache_folder`, the folder of compiled kernels or why there is none.

    Examples
    --------
    >>> import numrnn
    >>> facts = numrnn.info()
    >>> facts["numrnn"] == numrnn.__version__, facts["num_threads"] >= 1
    (True, True)
    """
    facts: dict[str, Any] = {
        "numrnn": numrnn.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": metadata.version("scipy"),
        "platform": platform.platform(),
        "num_threads": get_num_threads(),
    }
    facts |= _jit.describe()
    facts |= {
        "simd_bits": 8 * simd.VECTOR_BYTES,
        "simd_lanes": {str(dtype): lanes for dtype, lanes in simd.LANES_NUMPY.items()},
        "fused_multiply_add": simd.HAS_FMA,
        "flushes_denormals": simd.FLUSHES_DENORMALS,
    }
    first = ("numrnn", "python", "numpy", "scipy", "numba", "llvmlite", "platform")
    last = ("num_threads", "num_threads_limit", "threading_layer", "cache_folder")
    order = [*first, *(name for name in facts if name not in first and name not in last), *last]
    return {name: facts[name] for name in order if name in facts}
