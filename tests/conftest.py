"""Fixtures of all tests, and the folder of compiled kernels that one run of the tests shares."""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]

_OWN_CACHE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Start from an empty cache, unless NUMRNN_CACHE_DIR is set; processes that tests start share both.

    Not in a fixture: numrnn reads the variable when it is imported, and that is while tests are collected.
    """
    if not os.environ.get("NUMRNN_CACHE_DIR"):
        config.stash[_OWN_CACHE] = os.environ["NUMRNN_CACHE_DIR"] = tempfile.mkdtemp(prefix="numrnn-test-cache-")
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what this run put on disk."""
    if _OWN_CACHE in config.stash:
        shutil.rmtree(config.stash[_OWN_CACHE], ignore_errors=True)
        del os.environ["NUMRNN_CACHE_DIR"]


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that belong to the test: the same in every run, others in every test."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))
