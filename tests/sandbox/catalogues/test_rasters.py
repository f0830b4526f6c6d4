"""Files as bands: masks, alpha, scale and offset, the antimeridian, and files that lie nowhere on Earth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from shapely.geometry import Point
from typer.testing import CliRunner

from flows.terminal.cli import app
from pipeline.errors import Fatal
from sandbox.catalogues.folder import RasterFolder
from sandbox.functions.images import from_stored
from sandbox.functions.scope import Scope
from sandbox.raster.grids import PixelGrid
from sandbox.raster.stored import Window
from sandbox.service.main import catalog_of

FOUR = Window(0, 0, 2, 2)


def written(path: Path, *bands: Any, **profile: Any) -> Path:
    """A file of 2 by 2 pixels of 10 m."""
    data = np.asarray(bands)
    usual = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 500000, 0, -10, 5100000), "dtype": data.dtype}
    shape = {"driver": "GTiff", "count": len(data), "height": data.shape[1], "width": data.shape[2]}
    with rasterio.open(path, "w", **{**shape, **usual, **profile}) as file:
        file.write(data)
    return path


def served(path: Path, more: str = "", bands: str = "{ b1 = 1 }") -> Any:
    """The image of a file by an index."""
    index = path.parent / "index.toml"
    index.write_text(f'[[image]]\nasset = "a/b"\nfile = "{path.name}"\nbands = {bands}\n{more}\n')
    return RasterFolder(path.parent, index).image("a/b")


def test_an_alpha_band_masks_the_others(tmp_path):
    values, alpha = np.full((2, 2), 7, np.uint8), np.array([[255, 0], [255, 0]], np.uint8)
    path = written(tmp_path / "x.tif", values, alpha)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
    read, valid = served(path).bands[0].read(FOUR)
    assert valid.tolist() == [[True, False], [True, False]] and read.tolist() == [[7, 0], [7, 0]]


@pytest.mark.parametrize("inside", ["YES", "NO"])
def test_a_mask_of_the_file_holds_beside_nodata(tmp_path, inside):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside):
        path = written(tmp_path / "x.tif", np.array([[1, 2], [3, 4]], np.uint8))
        with rasterio.open(path, "r+") as file:
            file.write_mask(np.array([[True, False], [True, True]]))
    assert served(path, "nodata = 3").bands[0].read(FOUR)[1].tolist() == [[True, False], [False, True]]


def test_scale_and_offset_of_the_tags_hold_where_the_index_is_silent(tmp_path):
    path = written(tmp_path / "x.tif", np.array([[10, 20], [30, 0]], np.int16), nodata=0)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.1,), (-0.25,)
    band = served(path).bands[0]
    values, valid = band.read(FOUR)
    assert band.dtype == np.float32 and values.tolist() == [[0.75, 1.75], [2.75, 0]] and not valid[1, 1]
    assert served(path, "scale = 1\noffset = 2").bands[0].read(FOUR)[0].tolist() == [[12, 22], [32, 0]]


def test_an_offset_keeps_its_decimals(tmp_path):
    path = written(tmp_path / "x.tif", np.array([[10, 20], [30, 0]], np.int16))
    assert served(path, "offset = 0.5").bands[0].read(FOUR)[0].tolist() == [[10.5, 20.5], [30.5, 0.5]]
    whole = served(path, 'scale = 0.7\ndtype = "int16"').bands[0].read(FOUR)
    assert whole[0].tolist() == [[7, 14], [21, 0]]


def test_an_index_says_how_the_pyramid_of_a_file_is_made(tmp_path):
    path = written(tmp_path / "x.tif", np.arange(300 * 300, dtype=np.uint16).reshape(300, 300) % 256)
    grid = PixelGrid("EPSG:32632", (20.0, 0.0, 500000.0, 0.0, -20.0, 5100000.0), 1, 1)
    for policy, value in (("mean", 22.5), ("mode", 0), ("sample", 0)):
        pixels = from_stored(served(path, f'pyramid = "{policy}"\ndtype = "float32"')).bands[0].pixels(grid, Scope())
        assert pixels[0].item() == value
    with pytest.raises(ValueError, match="Unknown pyramid 'median'"):
        served(path, 'pyramid = "median"')


def test_a_mosaic_has_no_pyramid_to_choose(tmp_path):
    index = tmp_path / "index.toml"
    index.write_text('[[mosaic]]\nasset = "a/b"\nfiles = []\nbands = {}\npyramid = "mode"\n')
    with pytest.raises(ValueError, match="Unknown key 'pyramid'"):
        RasterFolder(tmp_path, index)


MOON = "+proj=longlat +a=1737400 +b=1737400 +no_defs"
MARS = "+proj=eqc +a=3396190 +b=3396190 +units=m +no_defs"


@pytest.mark.parametrize(("crs", "reason"), [(None, "no CRS"), (MOON, "not of the Earth"), (MARS, "not of the Earth")])
def test_a_file_that_lies_nowhere_on_earth_is_refused(tmp_path, crs, reason):
    path = written(tmp_path / "x.tif", np.zeros((2, 2), np.uint8), crs=crs)
    with pytest.raises(ValueError, match=reason):
        served(path)


def test_a_file_across_180_degrees_has_both_sides(tmp_path):
    across = rasterio.Affine(0.1, 0, 179.9, 0, -0.1, 0.1)
    image = served(written(tmp_path / "x.tif", np.array([[1, 2], [3, 4]], np.uint8), crs="EPSG:4326", transform=across))
    assert image.footprint.covers(Point(179.95, 0)) and image.footprint.covers(Point(-179.95, 0))
    assert image.footprint.area == pytest.approx(0.04)
    grid = PixelGrid("EPSG:4326", (0.1, 0.0, -180.0, 0.0, -0.1, 0.1), 1, 2)
    assert from_stored(image).bands[0].pixels(grid, Scope())[0].tolist() == [[2], [4]]


def test_the_command_serves_the_rasters_without_the_planet(tmp_path, monkeypatch):
    served(written(tmp_path / "x.tif", np.zeros((2, 2), np.uint8)))
    given = []
    monkeypatch.setattr("sandbox.service.main.serve", lambda catalog, **_: given.append(catalog))
    CliRunner().invoke(app, ["sandbox", "serve", "--rasters", str(tmp_path), "--no-planet"], catch_exceptions=False)
    assert isinstance(given[0], RasterFolder)


def test_without_planet_and_rasters_there_is_nothing_to_serve():
    with pytest.raises(ValueError, match="--rasters"):
        catalog_of(0, planet=False)
    result = CliRunner().invoke(app, ["sandbox", "serve", "--no-planet"])
    assert isinstance(result.exception, Fatal)
