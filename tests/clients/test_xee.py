"""Xee: collections as xarray data sets, beside our corpus."""

from __future__ import annotations

import ee
import numpy as np
import pytest

from tests.clients.chips import SAME_LATTICE, same, scene, stored, surface_chips

pytest.importorskip("xee", reason="Xee is not installed: pip install xee")
xarray = pytest.importorskip("xarray")
pytestmark = pytest.mark.slow


def opened(collection, chip):
    height, width = chip.grid.shape_yx
    return xarray.open_dataset(collection, engine="ee", crs=chip.grid.crs, crs_transform=tuple(chip.grid.transform),
                               shape_2d=(width, height))  # fmt: skip


def test_bands_on_the_chips_grid_are_those_of_the_corpus(client, corpus):
    for chip in surface_chips(corpus):
        dataset = opened(ee.ImageCollection([scene(chip).select(list(SAME_LATTICE))]), chip)
        assert dataset.B4.dims == ("time", "y", "x")
        for band in SAME_LATTICE:
            same(stored(corpus, "sentinel2", band, chip), dataset[band].values[0], 0, 0)


def test_interpolated_bands_are_within_a_unit(client, corpus):
    chip = surface_chips(corpus)[0]
    dataset = opened(ee.ImageCollection([scene(chip).select(["B11", "B5"]).resample("bilinear")]), chip)
    for band in ("B11", "B5"):
        same(stored(corpus, "sentinel2", band, chip), dataset[band].values[0], 0, 1)


def test_a_collection_opens_by_its_id_with_dates_and_attributes(client, corpus):
    chip = surface_chips(corpus)[0]
    longitude, latitude = chip.location.lonlat
    day = chip.acquisition.date.date()
    scenes = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").select(["B4", "SCL"])
    near = scenes.filterBounds(ee.Geometry.Point(longitude, latitude)).filterDate(str(day), ee.Date(str(day)).advance(
        60, "day"))  # fmt: skip
    dataset = opened(near, chip)
    assert dataset.sizes["time"] == near.size().getInfo() > 1
    assert np.datetime64(chip.acquisition.date.replace(tzinfo=None)) in dataset.time.values
    assert "Sentinel-2" in dataset.attrs["title"]


def test_a_mapped_mask_of_clouds_is_masked_there_too(client, corpus):
    """Pixels that the corpus' scene classes call cloud, shadow or cirrus are masked; the others are as stored."""

    def clear(image):
        return image.updateMask(image.select("SCL").remap([3, 8, 9, 10], [0] * 4, 1)).select("B4")

    for chip in surface_chips(corpus):
        scenes = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").map(clear)
        index = chip.acquisition.anchor.asset_id.rpartition("/")[2]
        theirs = opened(scenes.filter(ee.Filter.eq("system:index", index)), chip).B4.values[0]
        values, classes = stored(corpus, "sentinel2", "B4", chip), stored(corpus, "sentinel2_scl", "SCL", chip)
        covered = np.isin(classes, [3, 8, 9, 10]) | (values == 0)
        assert (np.isnan(theirs) == covered).all()
        assert (theirs[~covered] == values[~covered]).all()
