"""Layers and models over Dask's chunked arrays, which the extra `dask` brings; sequences may be longer than memory."""

from __future__ import annotations

try:
    import dask.array as _array
except ImportError as error:
    raise ImportError('Chunked arrays need Dask: pip install "numrnn[dask]"') from error

from numrnn.dask.prediction import predict

__all__ = ["predict"]

del _array
