"""How many aggregations one request may hold, counted as they are evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import ee
import pytest

from sandbox.limits import EARTH_ENGINE, KIND
from sandbox.service.server import Sandbox
from tests.sandbox import world

MOST = EARTH_ENGINE.concurrent_aggregations or 0
REFUSED = "^Too many concurrent aggregations.$"


@pytest.fixture(scope="module")
def unkind() -> Iterator[Sandbox]:
    with Sandbox(world.catalog(), limits=replace(KIND, concurrent_aggregations=MOST)) as sandbox:
        world.connect(sandbox)
        yield sandbox


def mean(number: ee.ComputedObject | int) -> ee.Dictionary:
    point = ee.Geometry.Point([9.0, 47.0])
    return ee.Image.constant(ee.Number(number)).reduceRegion(ee.Reducer.mean(), point, 10)


def points(count: int) -> ee.FeatureCollection:
    return ee.FeatureCollection([ee.Feature(ee.Geometry.Point([9.0, 47.0]), {"n": number}) for number in range(count)])


def test_more_reductions_than_others_could_make_are_refused(unkind: Sandbox) -> None:
    assert len(ee.List([mean(number) for number in range(MOST)]).getInfo()) == MOST
    with pytest.raises(ee.EEException, match=REFUSED):
        ee.List([mean(number) for number in range(MOST + 1)]).getInfo()


def test_mapped_reductions_count_each_and_a_shared_one_once(unkind: Sandbox) -> None:
    with pytest.raises(ee.EEException, match=REFUSED):
        points(MOST + 1).map(lambda point: point.set("mean", mean(point.get("n")))).getInfo()
    shared = mean(1)
    assert len(ee.List([shared] * (MOST + 1)).getInfo()) == MOST + 1


def test_arrays_of_properties_count_and_lists_of_elements_do_not(unkind: Sandbox) -> None:
    table = points(3)
    with pytest.raises(ee.EEException, match=REFUSED):
        ee.List([table.filter(ee.Filter.gt("n", n)).aggregate_array("n") for n in range(MOST + 1)]).getInfo()
    lists = [table.filter(ee.Filter.gt("n", n - 2)).toList(9).map(lambda each: ee.Feature(each).get("n"))
             for n in range(MOST + 1)]  # fmt: skip
    assert ee.List(lists).getInfo()[:3] == [[0, 1, 2], [0, 1, 2], [1, 2]]


def test_one_reduction_over_many_features_is_one(unkind: Sandbox) -> None:
    table = ee.Image.constant(4).reduceRegions(points(3 * MOST), ee.Reducer.mean(), 10)
    assert len(table.getInfo()["features"]) == 3 * MOST
