"""The planet through the server and the real client: a whole chip, as a pipeline asks for it."""

from __future__ import annotations

import ee
import numpy as np
import pytest
from pyproj import Transformer

from sandbox.planet import Planet
from sandbox.service.quotas import OFF
from sandbox.service.server import Sandbox
from tests.sandbox import world

BANDS = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8A", "B8", "B9", "B11", "B12"]
PLACES = [(lon, lat) for lon in (-3.7, 10.3, 25.2, 20.4, 100.1, -60.2) for lat in (44.3, 50.2, 5.3, -10.1)]


@pytest.fixture(scope="module")
def planet():
    with Sandbox(Planet(0), quotas=OFF) as sandbox:
        world.connect(sandbox)
        yield sandbox


def first_scene():
    """Place, day and image of the first place that has a clear scene."""
    for lon, lat in PLACES:
        box = ee.Geometry.Point([lon, lat]).buffer(640).bounds()
        scenes = (
            ee.ImageCollection(world.S2)
            .filter(ee.Filter.contains(".geo", box))
            .filterDate("2019-01-01", "2020-01-01")
            .filter(ee.Filter.lt("CLOUDY_PIXEL_PERCENTAGE", 20))
        )
        indices = scenes.aggregate_array("system:index").getInfo()
        if indices:
            return lon, lat, ee.Image(f"{world.S2}/{indices[0]}")
    return pytest.fail("no place has a scene")


def full_stack(scene, lon, lat):
    here = ee.Geometry.Point([lon, lat])
    dem = ee.Image(world.DEM)
    labels = ee.ImageCollection(world.DW).filterBounds(here).filterDate("2019-01-01", "2020-01-01")
    cover = ee.ImageCollection(world.WORLDCOVER).filterBounds(here).first()
    parts = [scene.select(BANDS).resample("bilinear").unmask(0, False).toUint16(),
             scene.select("SCL").unmask(255, False).toUint8(),
             dem.resample("bilinear").rename("dem").unmask(-32768, False).toInt16(),
             ee.Terrain.slope(dem).unmask(-1, False).toFloat(),
             ee.Image(cover).select("Map").unmask(255, False).toUint8(),
             labels.select("label").mode().add(1).unmask(0, False).toUint8()]  # fmt: skip
    return ee.Image.cat(parts)


def test_a_full_chip_of_the_planet(planet):
    lon, lat, scene = first_scene()
    crs = scene.select("B2").projection().crs().getInfo()
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    corner = (round(x / 10) * 10 - 640, round(y / 10) * 10 + 640)
    array = world.pixels(full_stack(scene, lon, lat), *corner, 128, 128, 10, crs)
    again = world.pixels(full_stack(scene, lon, lat), *corner, 128, 128, 10, crs)
    assert array.dtype.names == (*BANDS, "SCL", "dem", "slope", "Map", "label")
    assert np.array_equal(array, again)
    assert (array["B8"] > 0).all()
    assert np.unique(array["Map"]).size >= 1
    assert set(np.unique(array["label"])) <= set(range(10))
    assert array["slope"].dtype == np.float32


def test_a_part_of_a_chip_is_the_same_as_the_chip(planet):
    lon, lat, scene = first_scene()
    crs = scene.select("B2").projection().crs().getInfo()
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    left, top = round(x / 10) * 10 - 640, round(y / 10) * 10 + 640
    image = full_stack(scene, lon, lat)
    whole = world.pixels(image, left, top, 64, 64, 10, crs)
    part = world.pixels(image, left + 200, top - 300, 20, 20, 10, crs)
    for name in whole.dtype.names:
        assert np.array_equal(whole[name][30:50, 20:40], part[name]), name
