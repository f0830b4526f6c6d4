"""At 180 degrees east and west: filters, distances, footprints and pixels go on on the other side."""

from __future__ import annotations

import ee
import numpy as np
import pytest
from pyproj import Transformer
from shapely.geometry import MultiPolygon, Point, box

from sandbox.functions.scope import Scope
from sandbox.raster import longitudes
from sandbox.raster.grids import PixelGrid
from sandbox.raster.stored import Projection, StoredImage
from sandbox.service.quotas import OFF
from sandbox.service.server import Sandbox
from tests.sandbox import world
from tests.sandbox.arrays import ArrayBand, ArrayCatalog

TILES, GLOBE, ACROSS = "users/demo/tiles", "users/demo/globe", "users/demo/across"
ON_BOTH_SIDES = MultiPolygon([box(179, -1, 180, 1), box(-180, -1, -179, 1)])


def catalog() -> ArrayCatalog:
    """A tile whose footprint is split, a raster around the Earth, and one from 179 to 181 degrees east."""
    globe = np.arange(360, dtype=np.uint16)[None, :] + np.zeros((180, 1), np.uint16)
    bands = {
        GLOBE: ArrayBand("b1", globe, Projection("EPSG:4326", (1.0, 0.0, -180.0, 0.0, -1.0, 90.0))),
        ACROSS: ArrayBand("b1", globe[:20, 100:120], Projection("EPSG:4326", (0.1, 0.0, 179.0, 0.0, -0.1, 1.0))),
    }
    images = {key: StoredImage(key, (band,), {}, None) for key, band in bands.items()}
    tile = StoredImage(f"{TILES}/one", (bands[ACROSS],), {"system:index": "one"}, ON_BOTH_SIDES)
    return ArrayCatalog(single=images, collections={TILES: [tile]})


@pytest.fixture(scope="module")
def edge():
    with Sandbox(catalog(), quotas=OFF) as sandbox:
        world.connect(sandbox)
        yield sandbox


def utm(lon: float, lat: float) -> tuple[float, float]:
    return Transformer.from_crs(4326, 32601, always_xy=True).transform(lon, lat)


@pytest.mark.parametrize("lon", [179.999, -179.999, 180.0])
def test_a_footprint_holds_a_circle_across_the_antimeridian(edge, lon):
    circle = ee.Geometry.Point([lon, 0.5]).buffer(1000, 1)
    tiles = ee.ImageCollection(TILES).filterBounds(ee.Geometry.Point([lon, 0.5]))
    assert tiles.filter(ee.Filter.contains(".geo", circle, maxError=1)).size().getInfo() == 1


def test_shapes_beyond_180_degrees_meet_those_on_the_other_side(edge):
    beyond, place = ee.Geometry.BBox(179, -1, -179, 1), ee.Geometry.Point([-179.5, 0])
    assert beyond.intersects(place, 1).getInfo()
    assert ee.Geometry.Point([179.99, 0]).distance(ee.Geometry.Point([-179.99, 0])).getInfo() < 2300
    assert abs(abs(beyond.centroid(1).coordinates().getInfo()[0]) - 180) < 1e-6


def test_pixels_of_a_raster_around_the_earth_go_on_on_the_other_side(edge):
    x, y = utm(180.0, 10.5)
    array = world.pixels(ee.Image(GLOBE), x - 80_000, y, 16, 2, 10_000.0, "EPSG:32601")["b1"]
    assert array.tolist() == [[359] * 8 + [0] * 8] * 2
    smooth = world.pixels(ee.Image(GLOBE).toFloat().resample("bilinear"), 180.0, 0.0, 2, 1, 0.5, "EPSG:4326")["b1"]
    assert smooth[0].tolist() == pytest.approx([0.25 * 359, 0.25])


def test_pixels_of_a_raster_that_crosses_180_degrees_are_found_on_both_sides(edge):
    x, y = utm(180.0, 0.45)
    array = world.pixels(ee.Image(ACROSS), x - 40_000, y, 8, 1, 10_000.0, "EPSG:32601")["b1"]
    assert array[0].tolist() == [106, 107, 108, 109, 110, 111, 112, 113]


def test_outlines_of_grids_stay_on_their_side_of_the_earth():
    x, y = utm(180.0, 60.0)
    outline = Scope().outline(PixelGrid("EPSG:32601", (10.0, 0.0, x - 640, 0.0, -10.0, y), 128, 128))
    assert outline.area < 1e-3
    assert outline.intersects(Point(-179.999, 59.999)) and outline.intersects(Point(179.999, 59.999))


def test_an_outline_around_a_pole_holds_the_pole():
    outline = longitudes.lonlat_of(box(1e6, 1e6, 3e6, 3e6).segmentize(1e5), "EPSG:5041")
    assert all(outline.covers(Point(lon, 89.5)) for lon in range(-175, 180, 10))
    assert not outline.intersects(Point(0, 70))
