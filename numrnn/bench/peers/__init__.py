"""The libraries that are measured, each behind the same small interface; nothing here is imported before it is used."""

from __future__ import annotations

import importlib

from numrnn.bench.peers.base import Job, Peer, PeerMissingError

__all__ = ["PEERS", "Job", "Peer", "PeerMissingError", "load", "thread_environment"]

PEERS = ("numrnn", "torch", "onnxruntime", "jax")


def thread_environment(threads: int) -> dict[str, str]:
    """Environment variables that bound every library to `threads`; they must stand before the library is imported."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")
    eigen = "true" if threads > 1 else "false"
    flags = f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={threads}"
    return dict.fromkeys(names, str(threads)) | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}


def load(name: str, threads: int) -> Peer:
    """Import a library and bound it to `threads`.

    Raises
    ------
    PeerMissingError
        It is not installed.
    ValueError
        There is no peer of this name.
    """
    if name not in PEERS:
        raise ValueError(f"`name` = {name!r}, expected one of {', '.join(PEERS)}.")
    try:
        module = importlib.import_module(f"numrnn.bench.peers.{name}_peer")
        peer: Peer = module.make(threads)
    except ImportError as error:
        if name == "numrnn":
            raise
        raise PeerMissingError(f'{name} is not installed (pip install "numrnn[peers]"): {error}') from error
    return peer
