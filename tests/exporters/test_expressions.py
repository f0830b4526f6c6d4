"""Layers of a user's own: time rules, missing values, classes that nobody declared."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import ee
import numpy as np
import pytest

from exporters import catalog
from exporters.expressions import around_anchor, between, seasons, static, with_fallback
from exporters.pull.pull import Puller
from exporters.sources import Local, Pixels, Region
from pipeline.errors import Fatal
from pipeline.modality import Band, Category, Modality
from tests.exporters import tiny_earth
from tests.exporters.chips import SIZE_PX, chip
from tests.exporters.tiny_earth import day

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "modalities.md"
WHERE_HOLES_ARE = chip(day(2019, 6, 2), place=9)
PLAIN = Modality(name="mine", title="Mine", bands=(Band("a"),), dtype="float32", nodata=float("nan"))


def pull(engine, layer: Modality, of=WHERE_HOLES_ARE):
    return Puller(engine).pixels(of, [layer])


def test_nan_may_be_nodata(engine):
    layer = replace(PLAIN, source=static(lambda: ee.Image(tiny_earth.CANOPY[0])))
    stored = pull(engine, layer).values["mine"]
    assert stored.dtype == np.float32
    assert 0 < np.isnan(stored).sum() < stored.size


def test_scale_and_offset_are_undone_by_reading(engine):
    layer = replace(PLAIN, dtype="int16", nodata=-1, scale=0.5, offset=100.0)
    layer = replace(layer, source=static(lambda: ee.Image(tiny_earth.ASTER).toFloat().divide(4)))
    direct = replace(PLAIN, name="direct", source=static(lambda: ee.Image(tiny_earth.ASTER).toFloat().divide(4)))
    pulled = Puller(engine).pixels(WHERE_HOLES_ARE, [layer, direct]).values
    assert np.abs(layer.physical(pulled["mine"]) - pulled["direct"]).max() <= 0.25


def test_infinity_is_nodata(engine):
    layer = replace(PLAIN, nodata=-1.0, source=static(lambda: ee.Image(tiny_earth.ASTER).mod(2).log()))
    stored = pull(engine, layer).values["mine"]
    assert set(np.unique(stored)) == {-1.0, 0.0}


def test_a_window_around_the_anchor_includes_both_ends(engine):
    def count(days: float) -> float:
        source = around_anchor(tiny_earth.DYNAMIC_WORLD, ("label",), days, lambda images: images.count())
        values = pull(engine, replace(PLAIN, nodata=-1.0, source=source)).values
        return float(values["mine"].max()) if values else 0.0

    assert [count(28.99), count(29), count(151.99), count(152)] == [0, 1, 1, 2]


def test_a_window_that_is_not_over_gives_a_reason_and_no_images(engine, sandbox):
    later = chip(day(2999, 6, 2))
    around = around_anchor(tiny_earth.RADAR, ("VV",), 9, lambda images: images.mean())
    reason = pull(engine, replace(PLAIN, source=around), later).missing["mine"]
    assert reason == "its window of time is not over before 2999-06-11"
    assert sandbox.counters()["total"] == 0

    def image(of):
        spans = (seasons(year)["summer"] for year in (2019, 2999))
        return ee.Image.cat([
            with_fallback(between(of, tiny_earth.OPTICAL["l2a"], *span).select(["B2"]).median(), ["B2"])
            for span in spans
        ])  # fmt: skip

    layer = replace(PLAIN, bands=(Band("past"), Band("to_come")), source=Pixels(image))
    past, to_come = pull(engine, layer).values["mine"]
    assert np.isfinite(past).all() and np.isnan(to_come).all()


def test_a_value_that_is_no_class_is_a_reason_not_data(engine):
    layer = replace(PLAIN, dtype="uint8", nodata=0, categories=(Category(10, "a"), Category(20, "b")))
    layer = replace(layer, source=static(lambda: ee.ImageCollection(tiny_earth.COVER).first()))
    assert re.search("values .*50, 60.* none of its classes", pull(engine, layer).missing["mine"])


def test_a_source_with_too_few_bands_is_refused(engine):
    layer = replace(PLAIN, bands=(Band("a"), Band("b")), source=static(lambda: ee.Image(tiny_earth.ASTER)))
    with pytest.raises(Fatal):
        pull(engine, layer)


def test_local_values_of_another_shape_are_refused(engine):
    layer = replace(PLAIN, extent="image", source=Local(lambda of: np.zeros(3)))
    with pytest.raises(Fatal, match=r"float32 \(3,\).*float32 \(1,\)"):
        Puller(engine).local(WHERE_HOLES_ARE, [layer])


def test_local_pixels_need_no_request(engine, sandbox):
    layer = replace(PLAIN, source=Local(lambda of: np.full((1, SIZE_PX, SIZE_PX), of.location.lat)))
    assert Puller(engine).local(WHERE_HOLES_ARE, [layer]).values["mine"].shape == (1, SIZE_PX, SIZE_PX)
    assert sandbox.counters()["total"] == 0


def test_a_regions_mean_is_over_the_chips_own_footprint(engine):
    layer = replace(PLAIN, extent="image", source=Region(lambda of: ee.Image(tiny_earth.ASTER).toFloat(), 10.0))
    direct = replace(PLAIN, source=Pixels(lambda of: ee.Image(tiny_earth.ASTER).toFloat()))
    (mean,) = Puller(engine).regions([WHERE_HOLES_ARE], [layer])[0].values["mine"]
    assert mean == pytest.approx(pull(engine, direct).values["mine"].mean(), abs=0.01)


def test_a_region_that_a_chip_cannot_have_is_not_asked_for(engine, sandbox):
    source = Region(lambda of: ee.Image(tiny_earth.ASTER), 10.0, absent=lambda of: "not here" if of.row else None)
    layer = replace(PLAIN, extent="image", source=source)
    pulled = Puller(engine).regions([replace(WHERE_HOLES_ARE, row=row) for row in (0, 1)], [layer])
    assert "mine" in pulled[0].values and pulled[1].missing == {"mine": "not here"}


def test_one_chip_without_an_answer_spares_the_others(engine):
    def image(of):
        return ee.Image(of.acquisition.anchor.asset_id).select("MSK_CLDPRB")

    layer = replace(PLAIN, extent="image", source=Region(image, 20.0))
    chips = [chip(day(2019, 6, date), row=row) for row, date in enumerate((2, 12, 2, 3, 2))]
    pulled = Puller(engine).regions(chips, [layer])
    assert sorted(row for row in pulled if "mine" in pulled[row].values) == [0, 2, 4]
    assert "match any bands" in pulled[1].missing["mine"]
    assert "not found" in pulled[3].missing["mine"]


def test_the_guides_example_works(tmp_path):
    path = tmp_path / "water_vapour.py"
    path.write_text(re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1])
    (layer,) = catalog.modalities(["water_vapour"], [path])
    assert isinstance(layer.source, Pixels)
