"""Reducers over columns of a collection and over lists."""

from __future__ import annotations

import ee
import pytest

from tests.sandbox import world


def scenes():
    return ee.ImageCollection(world.S2)


def clouds(reducer, count=1):
    return scenes().reduceColumns(reducer, ["CLOUDY_PIXEL_PERCENTAGE"] * count).getInfo()


def test_lists_of_columns_are_as_clients_ask_for_them(sandbox):
    columns = ["system:id", "system:time_start"]
    ids, times = scenes().reduceColumns(ee.Reducer.toList().repeat(2), columns).get("list").getInfo()
    assert ids == [f"{world.S2}/{day}T103021_T32TNS" for day in (20190610, 20190710, 20200710)]
    assert times == scenes().aggregate_array("system:time_start").getInfo()
    rows = scenes().reduceColumns(ee.Reducer.toList(2), columns).get("list").getInfo()
    assert rows == [list(row) for row in zip(ids, times, strict=True)]


def test_numbers_of_columns(sandbox):
    assert clouds(ee.Reducer.mean()) == {"mean": pytest.approx(56 / 3)}
    assert clouds(ee.Reducer.max().repeat(2), 2) == {"max": [50, 50]}
    both = ee.Reducer.min().combine(ee.Reducer.count(), sharedInputs=True)
    assert clouds(both) == {"min": 1, "count": 3}
    assert clouds(ee.Reducer.toList()) == {"list": [5, 1, 50]}


def test_elements_without_the_property_are_passed_over(sandbox):
    rows = ee.FeatureCollection([ee.Feature(None, {"n": 1}), ee.Feature(None, {}), ee.Feature(None, {"n": 3})])
    assert rows.reduceColumns(ee.Reducer.toList(), ["n"]).getInfo() == {"list": [1, 3]}
    assert rows.reduceColumns(ee.Reducer.mean(), ["other"]).getInfo() == {"mean": None}


def test_too_few_columns_are_refused(sandbox):
    with pytest.raises(ee.EEException, match="needs 2 selectors, but 1 are given"):
        scenes().reduceColumns(ee.Reducer.toList().repeat(2), ["system:id"]).getInfo()


def test_lists_of_anything_are_reduced(sandbox):
    images = ee.List([None, ee.Image(4), ee.Image(5)])
    chosen = ee.Image(images.reduce(ee.Reducer.firstNonNull()))
    assert world.pixels(chosen, width=1, height=1)["constant"][0, 0] == 4
    assert ee.List([3, 1, 2]).reduce(ee.Reducer.minMax()).getInfo() == {"min": 1, "max": 3}
    assert ee.List(["a", "b"]).reduce(ee.Reducer.toList()).getInfo() == ["a", "b"]


def test_texts_have_no_mean(sandbox):
    with pytest.raises(ee.EEException, match=r"Reducer\.mean: It cannot reduce 'a'"):
        ee.List(["a", "b"]).reduce(ee.Reducer.mean()).getInfo()


def test_pixels_are_not_reduced_to_lists(sandbox):
    with pytest.raises(ee.EEException, match="numbers only"):
        world.pixels(scenes().select("B2").reduce(ee.Reducer.toList()), width=1, height=1)
