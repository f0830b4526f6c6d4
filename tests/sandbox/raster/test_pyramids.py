"""Coarse requests take a level of the pyramid: the mean, the mode or a sample of the pixels under it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import ee
import numpy as np
import pytest
from pyproj import Transformer

from sandbox.raster import pyramids
from sandbox.raster.grids import PixelGrid
from sandbox.raster.stored import Projection, StoredImage
from sandbox.service.quotas import OFF
from sandbox.service.server import Sandbox
from tests.sandbox import world
from tests.sandbox.arrays import UTM_10M, ArrayBand, ArrayCatalog, ramp

NORTH = Projection("EPSG:4326", (1 / 12000, 0.0, 10.0, 0.0, -1 / 12000, 66.0))
CLASSES = np.random.default_rng(3).integers(1, 5, (600, 600)).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class LevelledBand(ArrayBand):
    pyramid: str = "mean"


@pytest.fixture(scope="module")
def coarse():
    bands = {
        "users/demo/mean": LevelledBand("b1", ramp(600, 600, np.int32), UTM_10M),
        "users/demo/mode": LevelledBand("b1", CLASSES, NORTH, pyramid="mode"),
        "users/demo/sample": LevelledBand("b1", ramp(600, 600, np.int32), UTM_10M, pyramid="sample"),
    }
    images = {key: StoredImage(key, (band,), {}, None) for key, band in bands.items()}
    with Sandbox(ArrayCatalog(single=images), quotas=OFF) as sandbox:
        world.connect(sandbox)
        yield sandbox


@pytest.mark.parametrize(("step", "size"), [(10, 1), (19.9, 1), (20, 2), (39, 2), (40, 4), (400, 4)])
def test_the_level_is_the_coarsest_that_is_no_coarser_than_the_request(coarse, step, size):
    array = world.pixels(ee.Image("users/demo/mean"), width=3, height=3, step=step)["b1"]
    rows, columns = (((np.arange(3) + 0.5) * step // (10 * size) * size).astype(int) for _ in range(2))
    middle = (size - 1) / 2
    expected = 100 * (rows + middle)[:, None] + (columns + middle)[None, :]
    assert np.abs(array - expected).max() <= 0.5


def test_a_sampled_pyramid_has_the_upper_left_pixel(coarse):
    array = world.pixels(ee.Image("users/demo/sample"), width=2, height=2, step=40)["b1"]
    assert array.tolist() == [[0, 4], [400, 404]]


def test_interpolation_of_a_coarse_request_is_between_pixels_of_the_level(coarse):
    image = ee.Image("users/demo/mean").toFloat()
    own = world.pixels(image, step=20, width=4, height=4)["b1"]
    between = world.pixels(image.resample("bilinear"), 500010, 5099990, step=20, width=3, height=3)["b1"]
    assert between == pytest.approx((own[:-1, :-1] + own[1:, 1:]) / 2)


def test_utm_pixels_of_10_m_beyond_60_degrees_are_coarser_than_those_of_a_land_cover_in_degrees(coarse):
    x, y = Transformer.from_crs(4326, 32632, always_xy=True).transform(10.01, 65.99)
    request = {"x": round(x), "y": round(y), "width": 16, "height": 16}
    array = world.pixels(ee.Image("users/demo/mode"), **request)["b1"]
    back = Transformer.from_crs(32632, 4326, always_xy=True)
    for row in range(16):
        for column in range(16):
            lon, lat = back.transform(request["x"] + 10 * column + 5, request["y"] - 10 * row - 5)
            left, top = int((lon - 10) * 12000) // 2 * 2, int((66 - lat) * 12000) // 2 * 2
            counts = Counter(CLASSES[top : top + 2, left : left + 2].ravel().tolist())
            assert array[row, column] == min(counts, key=lambda code: (-counts[code], code))


def test_masked_pixels_count_in_no_level():
    values, valid = np.array([[1, 9], [3, 9]], np.uint8), np.array([[True, False], [True, False]])
    assert [pyramids.reduced(values, valid, 1, policy)[0].tolist() for policy in ("mean", "mode")] == [[[2]], [[1]]]
    assert not pyramids.reduced(values, ~valid & valid, 1, "mode")[1].any()


@pytest.mark.parametrize(("lat", "level"), [(50, 0), (57, 0), (58, 1), (65, 1)])
def test_the_level_of_a_10_m_request_depends_on_the_latitude(lat, level):
    x, y = Transformer.from_crs(4326, 32632, always_xy=True).transform(9.0, lat)
    grid = PixelGrid("EPSG:32632", (10.0, 0.0, x, 0.0, -10.0, y), 128, 128)
    assert pyramids.level_of(pyramids.steps_in(grid, "EPSG:4326"), NORTH, 5) == level
