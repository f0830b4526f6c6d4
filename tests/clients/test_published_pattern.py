"""The way in which the published MMEarth code asks for a location, beside our corpus: one download of all layers."""

from __future__ import annotations

import ee
import pytest
from rasterio.io import MemoryFile

from benchmarks import published_pattern
from benchmarks.published_pattern import Tile, pull
from tests.clients.chips import SAME_LATTICE, outline_bounds, same, scene, stored, surface_chips

pytestmark = pytest.mark.slow


def test_its_tile_holds_the_values_of_the_corpus(client, corpus, monkeypatch):
    """It chooses scenes by other rules; given ours, bands of the scene's own pixels are equal, and so are classes."""
    compared = 0
    for chip in surface_chips(corpus):
        if chip.acquisition.ascending is None or chip.acquisition.descending is None:
            continue  # it needs both passes
        monkeypatch.setattr(published_pattern, "_scenes", lambda *_, here=chip: ee.ImageCollection([scene(here)]))
        tile = pull(Tile(chip.location.lonlat, chip.acquisition.date.year, "l2a"))
        with MemoryFile(tile) as file, file.open() as source:
            window = source.window(*outline_bounds(chip)).round()
            bands = dict(zip(source.descriptions, source.read(window=window), strict=True))
        for band in SAME_LATTICE:
            same(stored(corpus, "sentinel2", band, chip), bands[band], 0, 0)
        same(stored(corpus, "sentinel2", "B11", chip), bands["B11"], 0, 1)
        same(stored(corpus, "esa_worldcover", "Map", chip), bands["Map"], 255, 0)
        compared += 1
    assert compared
