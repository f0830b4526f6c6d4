"""What Earth Engine computes is held against what it stores: equal where all is well, and a planted fault is named."""

from __future__ import annotations

from dataclasses import replace

import ee
import numpy as np
import pytest

from exporters import catalog
from exporters.live.check import LayerCheck, check, pull
from pipeline.modality import Modality
from sandbox.functions import images
from tests.exporters.chips import chip
from tests.exporters.tiny_earth import day

LAYERS = catalog.modalities()
FULL = chip(day(2019, 6, 2), "l2a", day(2019, 6, 5), day(2019, 5, 30), place=9)
COMPARED = {
    "sentinel2", "sentinel2_cloudmask", "sentinel2_cloudprod", "sentinel2_scl", "sentinel1", "aster", "era5",
    "canopy_height_eth", "esa_worldcover",
}  # fmt: skip
MOST_REQUESTS = 24


def checked(engine, layers=LAYERS, of=FULL, pulled_of=None) -> dict[str, LayerCheck]:
    pulled = pull(engine, pulled_of or of, layers)
    return {item.layer.name: item for item in check(engine, of, layers, pulled)}


def layer_of(name: str) -> Modality:
    return next(layer for layer in LAYERS if layer.name == name)


def test_every_layer_is_the_same_or_says_why_it_was_not_compared(engine, sandbox):
    result = checked(engine)
    assert {name for name, item in result.items() if item.state == "same"} == COMPARED
    assert all(item.why for item in result.values() if item.left_out or item.state == "not compared")
    assert "mode of a year" in result["dynamic_world"].why
    assert {band.name for band in result["era5"].bands} == {n for n in layer_of("era5").band_names if "year" not in n}
    assert sandbox.counters()["total"] <= MOST_REQUESTS
    requests = sandbox.counters()["requests"]
    assert requests["image:computePixels"] == 1 and requests["assets:getPixels"] <= 12


def test_bands_of_three_pixel_sizes_are_equal_to_a_digital_number(engine):
    (result,) = checked(engine, [layer_of("sentinel2")]).values()
    assert len(result.bands) == 13 and all(band.shift_shows for band in result.bands if band.name != "B10")
    assert max(band.differences.max(initial=0) for band in result.bands) <= 1e-4 * 1.000001
    assert min(band.equal_share for band in result.bands) > 0.7  # ties are rounded up there, and to even here


def moved(x_m: float, y_m: float = 0.0):
    x, y = FULL.grid.origin_xy
    return replace(FULL, grid=replace(FULL.grid, origin_xy=(x + x_m, y + y_m)))


@pytest.mark.parametrize("name", ["sentinel2", "sentinel1", "canopy_height_eth", "aster"])
def test_a_shift_of_half_a_pixel_is_seen(engine, name):
    (result,) = checked(engine, [layer_of(name)], pulled_of=moved(5.0)).values()
    assert result.state == "differs"


@pytest.mark.parametrize("name", ["esa_worldcover", "sentinel2_scl", "sentinel2_cloudmask"])
def test_classes_of_another_place_are_seen(engine, name):
    (result,) = checked(engine, [layer_of(name)], pulled_of=moved(-60.0, 20.0)).values()
    assert result.state == "differs"


def test_interpolation_on_a_lost_projection_is_seen(engine):
    """As after arithmetic that does not keep it, but with a kilometre a pixel in place of a degree."""
    good = layer_of("sentinel2")

    def image(of):
        return good.source.image(of).setDefaultProjection("EPSG:32632", None, 1000)

    lost = replace(good.source, image=image)
    result = checked(engine, [replace(good, source=lost), layer_of("sentinel1")])
    assert result["sentinel2"].state == "differs" and result["sentinel1"].state == "same"


def test_nearest_in_place_of_bilinear_is_seen_in_the_bands_that_are_coarser(engine, monkeypatch):
    honest = images.resample.sampled
    monkeypatch.setattr(images.resample, "sampled", lambda mode, *rest: honest("nearest", *rest))
    result = checked(engine, [layer_of("sentinel2"), layer_of("sentinel2_scl")])
    differing = {band.name for band in result["sentinel2"].bands if band.differs}
    assert differing == {"B1", "B5", "B6", "B7", "B8A", "B9", "B11", "B12"}
    assert result["sentinel2_scl"].state == "same"


def test_another_month_of_climate_is_seen(engine):
    june = chip(day(2019, 6, 2), "l2a", place=9)
    may = replace(
        june, acquisition=replace(june.acquisition, anchor=replace(june.acquisition.anchor, time=day(2019, 5, 2)))
    )
    (result,) = checked(engine, [layer_of("era5")], of=june, pulled_of=may).values()
    assert result.state == "differs"


def test_a_mask_that_is_lost_is_seen(engine):
    good = layer_of("canopy_height_eth")
    filled = replace(good.source, then=lambda *parts: ee.Image.cat(*parts).unmask(7))
    assert checked(engine, [good])[good.name].state == "same"
    assert checked(engine, [replace(good, source=filled)])[good.name].state == "differs"


def test_an_even_band_says_that_a_shift_would_not_show(engine):
    (result,) = checked(engine, [layer_of("aster")]).values()
    elevation, slope = result.bands
    assert elevation.shift_shows and not slope.shift_shows
    assert np.allclose(slope.theirs, np.degrees(np.arctan(0.1)))


def test_an_asset_that_cannot_be_read_is_named_and_stops_no_other(engine):
    good, other = layer_of("canopy_height_eth"), layer_of("aster")
    nowhere = [replace(origin, asset_id="users/nobody/x") for origin in good.source.origins(FULL)]
    lost = replace(good, source=replace(good.source, origins=lambda of: nowhere))
    result = checked(engine, [lost, other])
    assert result[good.name].state == "not read" and "cannot be read" in result[good.name].why
    assert result["aster"].state == "same"


def test_a_band_that_the_stored_image_has_not_is_said(engine):
    layer = layer_of("canopy_height_eth")
    beyond = [replace(origin, stored=(99,) * len(origin.stored)) for origin in layer.source.origins(FULL)]
    (result,) = checked(engine, [replace(layer, source=replace(layer.source, origins=lambda of: beyond))]).values()
    assert result.state == "differs"


def test_a_layer_without_data_is_not_compared(engine):
    old = chip(day(2019, 6, 2), "l1c", place=9)
    (result,) = checked(engine, [layer_of("sentinel2_scl")], of=old).values()
    assert result.state == "not compared" and "no scene classes" in result.why
