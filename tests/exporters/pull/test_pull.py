"""ChipResult values against the formulas that the images are made of."""

from __future__ import annotations

from datetime import UTC, datetime

import ee
import numpy as np
import pytest

from exporters import catalog
from exporters.earth_engine.batch_size import AdaptiveBatchSize
from exporters.earth_engine.client import Connection, connect
from exporters.expressions import static
from exporters.pull.pull import REGION_ROWS, Puller
from exporters.sources import MASKED, Local, Pixels, Region
from pipeline.chip import Chip
from pipeline.errors import Fatal
from pipeline.modality import Band, Category, Modality
from sandbox.service.faults import Fault
from sandbox.service.server import Sandbox
from tests.exporters import tiny_earth
from tests.exporters.chips import SIZE_PX, chip, pixel_centres_xy
from tests.exporters.conftest import IMPATIENT
from tests.exporters.tiny_earth import day

BOTH_LEVELS = chip(day(2019, 6, 2), "l2a", day(2019, 6, 5), day(2019, 5, 30))
SURFACE_LESS = chip(day(2018, 3, 11), "l1c", day(2018, 3, 15))


HALF_HOLES = 9  # a place whose chip lies across the edge of a hole


def layers(*names: str, kind: type = Pixels) -> list:
    return [layer for layer in catalog.modalities(names or None) if isinstance(layer.source, kind)]


def native(of: Chip, name: str, resolution_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Fractional native column and row under every pixel centre of the chip."""
    x, y = pixel_centres_xy(of.grid)
    return (x[None, :] - tiny_earth.LEFT) / resolution_m, (tiny_earth.TOP - y[:, None]) / resolution_m


def expected(of: Chip, name: str) -> np.ndarray:
    """Nearest neighbour of a band of the chip's optical image."""
    columns, rows = native(of, name, tiny_earth.NATIVE_M[name])
    salt = of.acquisition.date.timetuple().tm_yday
    return tiny_earth.formula(name, salt)(np.floor(columns).astype(int), np.floor(rows).astype(int))


def expected_bilinear(of: Chip, name: str) -> np.ndarray:
    """Weighted mean of the four native centres around every pixel centre."""
    columns, rows = (each - 0.5 for each in native(of, name, tiny_earth.NATIVE_M[name]))
    left, top = np.floor(columns).astype(int), np.floor(rows).astype(int)
    right, down = columns - left, rows - top
    value = tiny_earth.formula(name, of.acquisition.date.timetuple().tm_yday)
    upper = value(left, top) * (1 - right) + value(left + 1, top) * right
    lower = value(left, top + 1) * (1 - right) + value(left + 1, top + 1) * right
    return upper * (1 - down) + lower * down


def test_one_request_brings_every_layer(engine, sandbox):
    pulled = Puller(engine).pixels(BOTH_LEVELS, layers())
    assert set(pulled.values) == {layer.name for layer in layers()}
    assert sandbox.counters()["requests"] == {"image:computePixels": 1}


def test_reflectance_is_the_images_own_on_the_chips_grid(engine):
    (layer,) = layers("sentinel2")
    stored = Puller(engine).pixels(BOTH_LEVELS, [layer]).values["sentinel2"]
    bands = dict(zip(layer.band_names, stored, strict=True))
    assert np.array_equal(bands["B4"], expected(BOTH_LEVELS, "B4"))
    for name in ("B5", "B12", "B1", "B9"):
        assert np.abs(bands[name] - expected_bilinear(BOTH_LEVELS, name)).max() <= 1
    assert not bands["B10"].any(), "level l2a has no B10: nodata"


def test_classes_and_masks_are_never_interpolated(engine):
    chosen = layers("sentinel2_scl", "sentinel2_cloudmask", "esa_worldcover")
    pulled = Puller(engine).pixels(BOTH_LEVELS, chosen)
    assert np.array_equal(pulled.values["sentinel2_scl"][0], expected(BOTH_LEVELS, "SCL"))
    assert np.array_equal(pulled.values["sentinel2_cloudmask"][0], expected(BOTH_LEVELS, "QA60"))
    columns, rows = (np.floor(each).astype(int) for each in native(BOTH_LEVELS, "Map", 10))
    assert np.array_equal(pulled.values["esa_worldcover"][0], 10 * ((columns // 3 + rows // 5) % 9 + 1))


def test_radar_has_both_passes_and_nodata_for_other_polarisations(engine):
    (layer,) = layers("sentinel1")
    stored = Puller(engine).pixels(BOTH_LEVELS, [layer]).values["sentinel1"]
    present = [name for name, band in zip(layer.band_names, stored, strict=True) if layer.valid(band).all()]
    absent = [name for name, band in zip(layer.band_names, stored, strict=True) if not layer.valid(band).any()]
    assert present == ["HH_ascending", "HV_ascending", "VV_descending"]
    assert len(absent) == 5
    columns, rows = (np.floor(each).astype(int) for each in native(BOTH_LEVELS, "HH", 10))
    decibel = -((columns * 3 + rows + day(2019, 6, 5).timetuple().tm_yday) % 300) / 10.0
    assert np.allclose(layer.physical(stored)[2], decibel, atol=0.005)


def test_a_level_without_scene_classes_says_so_without_asking(engine, sandbox):
    pulled = Puller(engine).pixels(SURFACE_LESS, layers("sentinel2_scl", "sentinel2_cloudprod"))
    assert set(pulled.missing) == {"sentinel2_scl", "sentinel2_cloudprod"}
    assert "l1c" in pulled.missing["sentinel2_scl"]
    assert sandbox.counters()["total"] == 0


def test_no_radar_scene_is_a_reason_with_the_date(engine):
    pulled = Puller(engine).pixels(chip(day(2019, 6, 2)), layers("sentinel1"))
    assert "2019-06-02" in pulled.missing["sentinel1"]


def test_a_band_that_an_image_lacks_is_nodata_not_an_error(engine, sandbox):
    pulled = Puller(engine).pixels(chip(day(2019, 6, 12)), layers("sentinel2_cloudprod", "sentinel2"))
    assert pulled.missing == {"sentinel2_cloudprod": MASKED}
    assert sandbox.counters()["requests"] == {"image:computePixels": 1}


def test_land_cover_is_the_mode_of_the_calendar_year(engine):
    chosen = layers("dynamic_world")
    assert (Puller(engine).pixels(BOTH_LEVELS, chosen).values["dynamic_world"] == 5).all()
    assert (Puller(engine).pixels(chip(day(2020, 5, 5)), chosen).values["dynamic_world"] == 7).all()
    assert Puller(engine).pixels(SURFACE_LESS, chosen).missing == {"dynamic_world": MASKED}


def test_slope_is_real_degrees_without_a_false_border(engine):
    values = Puller(engine).pixels(BOTH_LEVELS, layers("aster")).values["aster"]
    assert np.allclose(values[1], np.degrees(np.arctan(0.1)), atol=0.02)
    assert np.allclose(np.diff(values[0], axis=1), 1, atol=1e-3)


def test_holes_are_nodata(engine):
    (layer,) = layers("canopy_height_eth")
    of = chip(day(2019, 6, 2), place=HALF_HOLES)
    assert 0 < _holes(of).sum() < _holes(of).size
    valid = layer.valid(Puller(engine).pixels(of, [layer]).values["canopy_height_eth"])
    assert np.array_equal(valid[0], ~_holes(of))


def _holes(of: Chip) -> np.ndarray:
    columns, rows = (np.floor(each).astype(int) for each in native(of, "height", 10))
    return np.broadcast_to((columns // 50) % 3 == 0, (SIZE_PX, SIZE_PX))


@pytest.mark.parametrize("date", [day(2019, 6, 2), day(2019, 1, 5), day(2019, 12, 31, 23)])
def test_the_climate_year_has_twelve_months(engine, date):
    of = chip(date)
    (layer,) = layers("era5", kind=Region)
    values = dict(zip(layer.band_names, Puller(engine).regions([of], [layer])[0].values["era5"], strict=True))
    last = date.year * 12 + date.month
    year = range(last - 11, last + 1)
    assert values["year_precipitation_sum"] == pytest.approx(sum(0.01 * (number % 12 + 1) for number in year), rel=1e-5)
    assert values["year_temperature_mean"] == pytest.approx(np.mean([280 + number % 10 for number in year]), rel=1e-6)
    assert values["previous_month_temperature_mean"] == 280 + (last - 1) % 10
    assert values["current_month_temperature_max"] == 300 + last % 5


@pytest.mark.parametrize(("date", "known"), [
    (day(2020, 12, 5), ["previous_month", "current_month", "year"]),
    (day(2021, 1, 5), ["previous_month"]),
    (day(2021, 5, 5), []),
    (day(2016, 6, 5), ["previous_month", "current_month"]),
])  # fmt: skip
def test_a_year_that_lacks_a_month_is_nodata(engine, date, known):
    """The months of 2016 to 2020 are there; seven of twelve would give a sum that passes for a dry year's."""
    (layer,) = layers("era5", kind=Region)
    pulled = Puller(engine).regions([chip(date)], [layer])[0]
    values = dict(zip(layer.band_names, pulled.values.get("era5", np.full(12, np.nan)), strict=True))
    assert {name.rpartition("_")[0].rpartition("_")[0] for name, value in values.items() if np.isfinite(value)} == set(
        known
    )
    assert bool(pulled.missing) == (not known)


def test_what_is_masked_may_be_late(engine):
    recent = datetime.now(UTC).replace(day=1)
    assert "have not come yet" in Puller(engine).regions([chip(recent)], layers("era5", kind=Region))[0].missing["era5"]


def test_land_cover_of_a_year_that_is_not_over_is_a_reason_without_a_request(engine, sandbox):
    later = chip(day(2999, 6, 2))
    reason = Puller(engine).pixels(later, layers("dynamic_world")).missing["dynamic_world"]
    assert reason == "its window of time is not over before 3000-01-01"
    assert sandbox.counters()["total"] == 0


def test_many_chips_share_a_climate_request_and_empty_ones_say_so(engine, sandbox):
    chips = [chip(day(2019, 6, 2), place=row, row=row) for row in range(REGION_ROWS - 1)]
    chips.append(chip(datetime(1990, 1, 1, tzinfo=UTC), row=REGION_ROWS - 1))
    pulled = Puller(engine).regions(chips, layers("era5", kind=Region))
    assert sandbox.counters()["requests"] == {"value:compute": 1}
    assert sorted(pulled) == list(range(REGION_ROWS))
    assert pulled[REGION_ROWS - 1].missing == {"era5": "all values are masked: no land here"}
    assert "era5" in pulled[0].values


def test_a_withdrawn_scene_costs_its_own_layers_only(engine):
    gone = chip(day(2019, 6, 3), "l2a", day(2019, 6, 5))
    pulled = Puller(engine).pixels(gone, layers())
    assert {name for name, reason in pulled.missing.items() if "not found" in reason} == {
        "sentinel2", "sentinel2_cloudmask", "sentinel2_cloudprod", "sentinel2_scl",
    }  # fmt: skip
    assert {"sentinel1", "aster", "esa_worldcover", "dynamic_world", "canopy_height_eth"} == set(pulled.values)


def test_a_layer_whose_own_asset_is_gone_stops_the_work(engine, sandbox):
    sandbox.faults(Fault("missing", next=1))
    with pytest.raises(Fatal, match="INJECTED.*leave the modality out"):
        Puller(engine).pixels(BOTH_LEVELS, layers("aster"))


def test_a_refused_size_is_halved_at_once_and_remembered_when_it_recurs(engine, sandbox):
    whole = sum(len(layer.bands) for layer in layers())

    def asked() -> tuple[int, dict]:
        sandbox.reset_counters()
        values = Puller(engine).pixels(BOTH_LEVELS, layers()).values
        return sandbox.counters()["requests"]["image:computePixels"], values

    result = []
    for _ in range(3):
        sandbox.faults(Fault("memory", next=1))
        result.append(asked())
    result.append(asked())
    assert [requests for requests, _ in result] == [3, 3, 3, 2]
    assert engine.at_once("bands", AdaptiveBatchSize(whole)).limit == whole // 2
    first = result[0][1]
    assert all(np.array_equal(first[name], other[name], equal_nan=True) for _, other in result for name in first)


@pytest.mark.parametrize("kind", ["value", "unknown"])
def test_what_may_be_too_large_is_halved_at_once(engine, sandbox, kind):
    sandbox.faults(Fault(kind, next=1))
    pulled = Puller(engine).pixels(BOTH_LEVELS, layers())
    assert sandbox.counters()["requests"]["image:computePixels"] == 3 and not pulled.missing


@pytest.mark.parametrize("kind", ["capacity", "out of memory", "timeout"])
def test_what_depends_on_the_load_is_asked_once_more_and_then_halved(engine, sandbox, kind):
    sandbox.faults(Fault(kind, next=1))
    Puller(engine).pixels(BOTH_LEVELS, layers())
    assert sandbox.counters()["requests"]["image:computePixels"] == 2
    sandbox.reset_counters()
    sandbox.faults(Fault(kind, next=2))
    Puller(engine).pixels(BOTH_LEVELS, layers())
    assert sandbox.counters()["requests"]["image:computePixels"] == 4


def test_a_request_that_outlasts_our_own_deadline_is_halved_too():
    assert Connection.deadline_s > 300, "the service gives up after five minutes, and says why"
    # A server of its own, since the answers that nobody waits for would be counted in another test.
    with Sandbox(catalog=tiny_earth.standard()) as server:
        hasty = connect(Connection("demo-project", url=server.url, patience=IMPATIENT, deadline_s=3.0))
        server.faults(Fault("slow", "image:computePixels", next=2, seconds=4.5))
        pulled = Puller(hasty).pixels(BOTH_LEVELS, layers("esa_worldcover", "canopy_height_eth"))
        assert len(pulled.values) == 2 and hasty.figures().timed_out >= 1


def test_local_layers_follow_from_the_chip(engine):
    result = (
        Puller(engine).local(BOTH_LEVELS, catalog.modalities(["lat", "lon", "month", "biome", "eco_region"])).values
    )
    angle = np.radians(BOTH_LEVELS.location.lat)
    assert np.allclose(result["lat"], [np.sin(angle), np.cos(angle)])
    assert np.allclose(result["month"], [np.sin(np.pi), np.cos(np.pi)], atol=1e-6)
    assert result["biome"].tolist() == [4]
    assert result["eco_region"].tolist() == [664]


def classes_of(source: Pixels | Region | Local, extent: str = "pixel") -> Modality:
    """A layer whose only class is 2."""
    categories = (Category(2, "two"), Category(4, "four"))
    return Modality("x", "X", (Band("a"),), "uint8", 255, extent, categories, source=source)


@pytest.mark.parametrize("value", [2.4, 258.0, -254.0])
def test_a_fraction_or_an_overflow_does_not_arrive_as_a_class(engine, value):
    layer = classes_of(static(lambda: ee.Image.constant(2).add(ee.Image.constant(value - 2)).toDouble()))
    pulled = Puller(engine).pixels(BOTH_LEVELS, [layer])
    assert pulled.missing == {"x": "some values are none of its classes: fractions, or not what uint8 holds"}


def test_the_mean_of_classes_is_a_reason_not_another_class(engine):
    layer = classes_of(Region(lambda of: ee.Image.constant(2.5), scale_m=10), "image")
    pulled = Puller(engine).regions([BOTH_LEVELS], [layer])[0]
    assert pulled.missing == {"x": "values 2.5 are none of its classes"}


def test_a_local_value_that_does_not_fit_is_a_reason_and_a_word_is_refused(engine):
    pulled = Puller(engine).local(BOTH_LEVELS, [classes_of(Local(lambda of: np.array([258.0])), "image")])
    assert pulled.missing == {"x": "values 258 are none of its classes"}
    with pytest.raises(Fatal, match="'x': its source gave no numbers"):
        Puller(engine).local(BOTH_LEVELS, [classes_of(Local(lambda of: ["two"]), "image")])
