"""What docs/embedding_dask.md says of Dask and xarray is so."""

from __future__ import annotations

import pytest
from documents import blocks, missing_files, read, run

PAGE = "docs/embedding_dask.md"


def test_the_code_of_the_page_runs() -> None:
    pytest.importorskip("dask.array")
    pytest.importorskip("xarray")
    run(PAGE, blocks(read(PAGE), "python"))


def test_what_the_page_names_exists() -> None:
    assert missing_files(read(PAGE)) == set()
