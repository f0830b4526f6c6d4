"""geedim: one box downloaded, masks of clouds, and values beside our corpus."""

from __future__ import annotations

import ee
import numpy as np
import pytest

from tests.clients.chips import SAME_LATTICE, outline, outline_bounds, same, scene, stored, surface_chips

pytest.importorskip("geedim", reason="geedim is not installed: pip install geedim")
pytestmark = pytest.mark.slow


def prepared(image, chip, **options):
    grid = {"crs": chip.grid.crs, "crs_transform": chip.grid.transform, "shape": chip.grid.shape_yx}
    return image.gd.prepareForExport(**grid, **options)


def test_values_on_the_chips_grid_are_those_of_the_corpus(client, corpus):
    for chip in surface_chips(corpus):
        array = prepared(scene(chip).select(list(SAME_LATTICE)), chip).gd.toNumPy()
        for index, band in enumerate(SAME_LATTICE):
            same(stored(corpus, "sentinel2", band, chip), np.asarray(array[..., index]), 0, 0)


def test_its_own_interpolation_is_within_a_unit(client, corpus):
    chip = surface_chips(corpus)[0]
    array = prepared(scene(chip).select(["B11"]), chip, resampling="bilinear").gd.toNumPy()
    same(stored(corpus, "sentinel2", "B11", chip), np.asarray(array[..., 0]), 0, 1)


def test_a_box_is_downloaded_not_the_tile(client, corpus, served):
    chip = surface_chips(corpus)[0]
    image = scene(chip).select(["B4"]).gd.prepareForExport(region=outline(chip), scale=10, crs=chip.grid.crs)
    assert max(image.gd.shape) <= max(chip.grid.shape_yx) + 1
    served.reset_counters()
    array = image.gd.toNumPy()
    assert array.shape[:2] == image.gd.shape
    left, _, _, top = outline_bounds(chip)
    row, column = round((image.gd.transform[5] - top) / 10), round((left - image.gd.transform[2]) / 10)
    height, width = chip.grid.shape_yx
    inside = np.asarray(array[row : row + height, column : column + width, 0])
    same(stored(corpus, "sentinel2", "B4", chip), inside, 0, 0)
    assert served.counters()["bytes_out"] < 1_000_000


def test_clouds_are_masked_by_the_score_of_the_scene(client, corpus):
    chip = surface_chips(corpus)[0]
    masked = scene(chip).gd.addMaskBands()
    assert {"CLOUD_SCORE", "FILL_MASK", "CLOUDLESS_MASK", "CLOUD_DIST"} <= set(masked.bandNames().getInfo())
    bands = ["B4", "CLOUDLESS_MASK"]
    array = prepared(masked.gd.maskClouds().select(bands), chip).gd.toNumPy(masked=True)
    score = ee.Image("GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED/" + chip.acquisition.anchor.asset_id.rpartition("/")[2])
    scores = np.asarray(prepared(score.select("cs"), chip).gd.toNumPy()[..., 0])
    values = stored(corpus, "sentinel2", "B4", chip)
    clear = (scores > 0.6) & (values > 0)
    assert (~np.ma.getmaskarray(array)[..., 0] == clear).all()
    assert (array.data[..., 0][clear] == values[clear]).all()


def test_a_clipped_scene_says_its_size(client, corpus):
    chip = surface_chips(corpus)[0]
    clipped = scene(chip).select("B4").clip(outline(chip))
    assert clipped.gd.shape == chip.grid.shape_yx
    assert clipped.gd.transform == pytest.approx(tuple(chip.grid.transform))
