"""A layer's own nodata, which its files do not say, is no datum before anything is made of the numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.files.bands import layer_bands
from exporters.files.description import FilesSettings, LayerSettings
from exporters.files.file_layer import FileLayer
from exporters.files.layer_spec import specification
from pipeline.chip import Chip
from pipeline.grid import Grid
from tests.exporters.files.rasters import write
from tests.exporters.files.test_raster import GRID, lattice
from tests.exporters.files.test_same_pixels import chip_at


def layer_of(values: np.ndarray, folder: Path, **said: Any) -> FileLayer:
    """The layer of one file of `values` (bands, y, x), of which `said` is said."""
    write(folder / "a.tif", values, lattice())
    layer = LayerSettings(files="*.tif", **said)
    bands = layer_bands(layer, "image", folder, "a.tif")
    return FileLayer(specification("image", layer, bands, bands), layer, FilesSettings(folder=folder))


def chip_on(grid: Grid) -> Chip:
    return replace(chip_at((3.0, 45.0)), grid=grid, own={"file_image": "a.tif"})


def striped(nodata: float, dtype: str) -> np.ndarray:
    """Data of 100 and 300 whose every other column is nodata."""
    values = np.array([100, 300]).repeat(32).reshape(1, 8, 8).astype(dtype)
    values[:, :, ::2] = nodata
    return values


@pytest.mark.parametrize(("nodata", "dtype"), [(-9999, "int16"), (-9999, "float32"), (-3.4028235e38, "float32")])
def test_an_undeclared_nodata_has_no_part_in_a_mean(tmp_path: Path, nodata: float, dtype: str) -> None:
    layer = layer_of(striped(nodata, dtype), tmp_path, nodata=nodata, resampling="bilinear", dtype="float32")
    shifted = Grid(GRID.crs, (GRID.origin_xy[0] + 5, GRID.origin_xy[1]), GRID.shape_yx)
    got = layer.values(chip_on(shifted))
    assert np.isfinite(got[..., :-1]).all()
    np.testing.assert_allclose(got[0, :, :-1], np.array([100.0] * 4 + [300.0] * 4)[:, None].repeat(7, axis=1))


@pytest.mark.parametrize("nodata", [0.1, np.inf, 1e300])
def test_an_undeclared_nodata_of_real_numbers_is_the_one_nearest_in_their_dtype(tmp_path: Path, nodata: float) -> None:
    with np.errstate(over="ignore"):
        values = striped(nodata, "float32")
    layer = layer_of(values, tmp_path, nodata=nodata)
    expected = np.where(values == values[0, 0, 0], np.nan, values)
    np.testing.assert_array_equal(layer.values(chip_on(GRID)), expected)
    np.testing.assert_array_equal(layer.stored(chip_on(GRID)), expected, strict=True)


def test_what_a_layer_is_drawn_between_leaves_out_its_own_nodata(tmp_path: Path) -> None:
    shown = layer_of(striped(-9999, "int16"), tmp_path, nodata=-9999).modality.display
    assert (shown.low, shown.high) == (100.0, 300.0)
