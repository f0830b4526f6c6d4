"""Poles and the antimeridian: axes, latitudes, footprints and pixels where coordinates end."""

from __future__ import annotations

import ee
import numpy as np
import pytest
from pyproj import Transformer

from sandbox.raster import grids
from tests.sandbox import world


@pytest.mark.parametrize(("north", "other"), [(5041, 32661), (5042, 32761)])
def test_polar_stereographic_axes_are_not_exchanged(north, other):
    lonlat = 33.0, 80.0 if north == 5041 else -80.0
    x, y = Transformer.from_crs(4326, north, always_xy=True).transform(*lonlat)
    for source, target in ((north, other), (other, north)):
        moved = grids.transformer(f"EPSG:{source}", f"EPSG:{target}").transform(x, y)
        assert moved == pytest.approx((x, y), abs=1e-3)


def test_an_image_of_one_polar_crs_is_the_same_in_the_other(sandbox):
    lonlat = ee.Image.pixelLonLat().select("longitude")
    there = lonlat.reproject("EPSG:32661", None, 1000)
    place = {"x": 2_500_000.0, "y": 1_000_000.0, "step": 1000.0}
    assert np.array_equal(
        world.pixels(there, crs="EPSG:5041", **place), world.pixels(lonlat, crs="EPSG:32661", **place)
    )


@pytest.mark.parametrize("latitude", [90.5, -91])
def test_latitudes_beyond_a_pole_are_refused(sandbox, latitude):
    for shape in (ee.Geometry.Point([5, latitude]), ee.Geometry.LineString([[5, 0], [5, latitude]])):
        with pytest.raises(ee.EEException, match=f"latitude {latitude}"):
            shape.buffer(10).getInfo()


def test_a_box_ends_at_the_poles(sandbox):
    ring = ee.Geometry.BBox(0, 80, 10, 95).coordinates().getInfo()[0]
    assert max(lat for _, lat in ring) == 90


@pytest.mark.parametrize("width", [7.5, "wide", True])
def test_a_width_that_is_no_integer_is_refused(sandbox, width):
    grid = {**world.grid(500000, 5100000, 8, 8), "dimensions": {"width": width, "height": 8}}
    request = {"expression": ee.Image(1), "fileFormat": "NUMPY_NDARRAY", "grid": grid}
    with pytest.raises(ee.EEException, match="grid.dimensions.width"):
        ee.data.computePixels(request)
