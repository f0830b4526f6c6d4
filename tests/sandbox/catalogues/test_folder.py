"""Real rasters under Earth Engine's ids, and several catalogues as one."""

from __future__ import annotations

from pathlib import Path

import ee
import numpy as np
import pytest
import rasterio
from pyproj import Transformer

from sandbox.catalogues.catalogs import Catalogs
from sandbox.catalogues.folder import RasterFolder
from sandbox.raster.stored import Query, Window
from sandbox.service.quotas import OFF
from sandbox.service.server import Sandbox
from tests.sandbox import world

INDEX = Path(__file__).resolve().parents[1] / "scenes.toml"
DENMARK = "637U_59R_1_3"
CHILE = "433D_629L_3_1"


@pytest.fixture(scope="module")
def folder(shared_data):
    return RasterFolder(shared_data / "scenes", INDEX)


@pytest.fixture(scope="module")
def real(folder):
    with Sandbox(folder, quotas=OFF) as sandbox:
        world.connect(sandbox)
        yield sandbox


def read(shared_data, kind, scene, band=1):
    with rasterio.open(shared_data / "scenes" / kind / f"{scene}.tif") as file:
        return file.read(band), file.transform, file.crs.to_string()


def test_collections_hold_the_scenes_with_their_dates(real):
    scenes = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED")
    assert scenes.size().getInfo() == 3
    denmark = scenes.filterDate("2017-01-01", "2018-01-01")
    assert denmark.aggregate_array("MGRS_TILE").getInfo() == ["32VNJ"]
    assert denmark.filterBounds(ee.Geometry.Point([9.845, 57.227])).size().getInfo() == 1
    assert denmark.filterBounds(ee.Geometry.Point([0, 0])).size().getInfo() == 0
    radar = ee.ImageCollection("COPERNICUS/S1_GRD").filter(ee.Filter.eq("orbitProperties_pass", "DESCENDING"))
    assert radar.first().bandNames().getInfo() == ["VV", "VH"]


def test_pixels_are_those_of_the_file(real, shared_data):
    values, transform, crs = read(shared_data, "S2L2A", DENMARK, 4)
    scene = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").filterDate("2017-01-01", "2018-01-01").first()
    array = world.pixels(scene.select("B4"), transform.c, transform.f, 224, 224, 10, crs)["B4"]
    assert array.dtype == np.uint16
    assert np.array_equal(array, values)


def test_an_offset_is_applied(real, shared_data):
    values, transform, crs = read(shared_data, "S2L1C", CHILE, 11)
    scene = ee.ImageCollection("COPERNICUS/S2_HARMONIZED").filterDate("2020-01-01", "2021-01-01").first()
    array = world.pixels(scene.select("B10"), transform.c, transform.f, 224, 224, 10, crs)["B10"]
    assert np.array_equal(array, values - 1000)
    assert array.max() < 100


def test_a_chip_snapped_to_the_lattice_is_resampled(real, shared_data):
    values, transform, crs = read(shared_data, "S2L2A", DENMARK, 4)
    x, y = round(transform.c / 10) * 10 + 100, round(transform.f / 10) * 10 - 100
    scene = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").filterDate("2017-01-01", "2018-01-01").first()
    array = world.pixels(scene.select("B4"), x, y, 128, 128, 10, crs)["B4"]
    row, column = int((transform.f - (y - 5)) / 10), int((x + 5 - transform.c) / 10)
    assert np.array_equal(array, values[row : row + 128, column : column + 128])


def test_a_mosaic_reads_the_file_that_is_there(real, shared_data):
    values, transform, crs = read(shared_data, "DEM", CHILE)
    dem = ee.Image("projects/sat-io/open-datasets/ASTER/GDEM")
    array = world.pixels(dem.resample("bilinear"), transform.c + 320, transform.f - 320, 128, 128, 10, crs)["b1"]
    assert np.abs(array - values[32:160, 32:160].astype(int)).mean() < 3
    assert world.pixels(dem.mask(), 0.0, 0.0, 2, 2, 1 / 3600, "EPSG:4326")["b1"].max() == 0


def test_codes_are_translated(real, shared_data):
    values, transform, crs = read(shared_data, "LULC", DENMARK)
    cover = ee.ImageCollection("ESA/WorldCover/v100").first()
    array = world.pixels(cover, transform.c + 320, transform.f - 320, 128, 128, 10, crs)["Map"]
    assert set(np.unique(array)) <= {10, 30, 40, 50, 60, 80, 90}
    crops = values[32:160, 32:160] == 4
    assert ((array == 40) == crops).mean() > 0.97


def test_the_footprint_is_the_rasters_outline(folder, shared_data):
    _, transform, crs = read(shared_data, "S2L2A", DENMARK)
    image = next(i for i in folder.images("COPERNICUS/S2_SR_HARMONIZED", Query()) if "32VNJ" in i.asset_id)
    corner = Transformer.from_crs(crs, 4326, always_xy=True).transform(transform.c, transform.f)
    assert min(abs(x - corner[0]) + abs(y - corner[1]) for x, y in image.footprint.exterior.coords) < 1e-9


def test_windows_beyond_the_raster_are_masked(folder):
    band = folder.image("COPERNICUS/S1_GRD/S1A_IW_GRDH_1SDV_20171030T053230").bands[0]
    for window in (Window(-5, -5, 10, 10), Window(220, 220, 10, 10), Window(500, 0, 3, 3), Window(-9, 0, 3, 3)):
        values, valid = band.read(window)
        assert values.shape == valid.shape == (window.height, window.width)
    assert band.read(Window(-5, -5, 10, 10))[1].sum() == 25
    assert band.read(Window(500, 0, 3, 3))[1].sum() == 0


def test_an_index_with_an_unknown_key_is_refused(tmp_path):
    index = tmp_path / "index.toml"
    index.write_text('[[image]]\nasset = "a/b"\nfile = "x.tif"\ncolour = 1\nbands = { b1 = 1 }\n')
    with pytest.raises(ValueError, match="Unknown key 'colour'"):
        RasterFolder(tmp_path, index)


def test_an_index_that_asks_for_a_band_too_many_is_refused(tmp_path):
    profile = {"driver": "GTiff", "width": 2, "height": 2, "count": 1, "dtype": "uint8", "crs": "EPSG:32632",
               "transform": rasterio.Affine(10, 0, 0, 0, -10, 0)}  # fmt: skip
    with rasterio.open(tmp_path / "x.tif", "w", **profile) as file:
        file.write(np.ones((1, 2, 2), np.uint8))
    index = tmp_path / "index.toml"
    index.write_text('[[image]]\nasset = "a/b"\nfile = "x.tif"\nnodata = 0\nbands = { b1 = 2 }\n')
    with pytest.raises(ValueError, match="has 1 bands"):
        RasterFolder(tmp_path, index)
    index.write_text('[[image]]\nasset = "a/b"\nfile = "x.tif"\nnodata = 1\nbands = { b1 = 1 }\n')
    assert not RasterFolder(tmp_path, index).image("a/b").bands[0].read(Window(0, 0, 2, 2))[1].any()


def test_the_first_catalogue_that_holds_an_id_answers():
    item, other = world.catalog(), world.catalog()
    item.collections = {world.S2: item.collections[world.S2][:1]}
    item.single = {}
    joined = Catalogs(item, other)
    assert joined.image(world.DEM) is other.single[world.DEM]
    assert joined.describe("nothing") is None
    assert joined.images("nothing", Query()) is None
    assert joined.table("nothing") is None
    result = list(joined.images(world.S2, Query()))
    assert [image.asset_id[-20:-12] for image in result] == [i.asset_id[-20:-12] for i in other.collections[world.S2]]
    assert result[0] is item.collections[world.S2][0]
    assert joined.children("COPERNICUS") == [world.S1, world.S2]
