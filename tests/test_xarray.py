"""Named dimensions: a layer under `xarray.apply_ufunc`, over NumPy and over Dask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numrnn

xr = pytest.importorskip("xarray")
pytest.importorskip("dask.array")

CORE = {"input_core_dims": [["time", "feature"]], "output_core_dims": [["time", "hidden"]]}


def weather(rng: np.random.Generator) -> Any:
    values = rng.standard_normal((20, 3, 6))
    return xr.DataArray(values, dims=("time", "feature", "station"), coords={"time": np.arange(20) * 3600})


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_named_dimensions_find_their_axes(cell: str, rng: np.random.Generator) -> None:
    """Chunks of stations under "parallelized", chunks of time too under "allowed": the bits of a plain call."""
    x = weather(rng)
    layer = getattr(numrnn, cell)(3, 8, batch_first=True, seed=0)
    expected = layer(x.transpose("station", "time", "feature").values).output

    plain = xr.apply_ufunc(lambda array: layer(array).output, x, **CORE)
    blocks = xr.apply_ufunc(
        lambda array: layer(array, n_threads=1).output,
        x.chunk({"station": 2}),
        dask="parallelized",
        output_dtypes=[layer.dtype],
        dask_gufunc_kwargs={"output_sizes": {"hidden": 8}},
        **CORE,
    )
    long = xr.apply_ufunc(
        lambda array: numrnn.dask.predict(layer, array), x.chunk({"station": 2, "time": 7}), dask="allowed", **CORE
    )
    assert long.chunksizes["time"] == (7, 7, 6)
    for found in (plain, blocks, long):
        assert found.dims == ("station", "time", "hidden")
        np.testing.assert_array_equal(found.time, x.time)
        np.testing.assert_array_equal(found.values, expected)
        assert found.dtype == layer.dtype
