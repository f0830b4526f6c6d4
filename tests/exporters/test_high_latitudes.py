"""Layers in degrees beyond 57 degrees, where a pixel of 10 m is longer than two of theirs."""

from __future__ import annotations

import ee
import numpy as np
from pyproj import Transformer

from exporters.modalities.esa_worldcover import COLLECTION, esa_worldcover
from exporters.sources import Pixels
from sandbox.raster.stored import Projection, StoredImage
from sandbox.service.server import Sandbox
from tests.exporters.chips import chip
from tests.exporters.tiny_earth import day
from tests.sandbox import world
from tests.sandbox.arrays import ArrayBand, ArrayCatalog


def test_land_cover_of_the_north_is_that_of_its_own_pixels():
    codes = (10 * np.random.default_rng(3).integers(1, 10, (600, 600))).astype(np.uint8)
    band = ArrayBand("Map", codes, Projection("EPSG:4326", (1 / 12000, 0.0, 10.0, 0.0, -1 / 12000, 66.0)))
    place = Transformer.from_crs(4326, 32632, always_xy=True).transform(10.01, 65.99)
    x, y = round(place[0]), round(place[1])
    with Sandbox(
        ArrayCatalog(collections={COLLECTION: [StoredImage(f"{COLLECTION}/2020", (band,), {}, None)]})
    ) as north:
        world.connect(north)
        assert isinstance(esa_worldcover.source, Pixels)
        image = esa_worldcover.source.physical(chip(day(2019, 6, 2), "l2a", None, None), esa_worldcover.resampling)
        assert isinstance(image, ee.Image)
        array = world.pixels(image, x, y, 32, 32)["Map"]
    xx, yy = np.meshgrid(x + 10 * np.arange(32) + 5.0, y - 10 * np.arange(32) - 5.0)
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(xx, yy)
    assert np.array_equal(array, codes[((66 - lat) * 12000).astype(int), ((lon - 10) * 12000).astype(int)])
