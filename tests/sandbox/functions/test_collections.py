"""Collections: filters pushed to the catalogue, order, nothing found, reducers, mosaic, too many."""

from __future__ import annotations

import ee
import numpy as np
import pytest

from sandbox.raster.stored import Query, QueryTooLarge
from sandbox.service.server import Sandbox
from tests.sandbox import world
from tests.sandbox.arrays import UTM_10M, ArrayBand, ArrayCatalog, array_image


def point(*lonlat):
    return ee.Geometry.Point(list(lonlat))


HERE = (9.02, 46.03)


def names(collection):
    return [index[:8] for index in collection.aggregate_array("system:index").getInfo()]


def scenes():
    return ee.ImageCollection(world.S2)


def labels(start="2019-01-01", end="2020-01-01"):
    return ee.ImageCollection(world.DW).filterDate(start, end).select("label")


def test_dates_exclude_their_end(sandbox):
    assert names(scenes().filterDate("2019-06-10", "2019-07-10")) == ["20190610"]
    assert names(scenes().filterDate("2019-06-10", "2019-07-11")) == ["20190610", "20190710"]
    assert names(scenes().filterDate("2019-06-10")) == ["20190610"]


def test_bounds_and_properties(sandbox):
    assert names(scenes().filterBounds(point(*HERE))) == ["20190610", "20190710", "20200710"]
    assert names(scenes().filterBounds(point(0, 0))) == []
    assert names(scenes().filter(ee.Filter.lt("CLOUDY_PIXEL_PERCENTAGE", 5))) == ["20190710"]
    assert names(scenes().filterMetadata("CLOUDY_PIXEL_PERCENTAGE", "not_less_than", 5)) == ["20190610", "20200710"]


def test_contains_wants_the_whole_region(sandbox):
    inside = ee.Geometry.Rectangle([9.01, 46.03, 9.02, 46.04])
    across = ee.Geometry.Rectangle([8.9, 46.03, 9.02, 46.04])
    assert len(names(scenes().filter(ee.Filter.contains(".geo", inside)))) == 3
    assert names(scenes().filter(ee.Filter.contains(".geo", across))) == []
    assert len(names(scenes().filterBounds(across))) == 3


def test_filters_reach_the_catalogue():
    catalog = world.catalog()
    with Sandbox(catalog) as sandbox:
        world.connect(sandbox)
        result = (
            ee.ImageCollection(world.S1)
            .filterBounds(point(*HERE))
            .filterDate("2019-06-01", "2019-07-01")
            .filter(ee.Filter.eq("orbitProperties_pass", "ASCENDING"))
            .filter(ee.Filter.listContains("transmitterReceiverPolarisation", "VH"))
        )
        assert result.size().getInfo() == 1
    query = catalog.queries[-1]
    assert query.property_equals == (("orbitProperties_pass", "ASCENDING"),)
    assert (query.start_ms, query.end_ms) == (1559347200000, 1561939200000)
    assert query.region.equals(query.region) and query.region.geom_type == "Point"


def test_a_filter_after_a_limit_sees_only_what_is_left(sandbox):
    limited = scenes().limit(1).filter(ee.Filter.gt("CLOUDY_PIXEL_PERCENTAGE", 10))
    assert limited.size().getInfo() == 0


def test_sort_first_limit_and_list(sandbox):
    by_cloud = scenes().sort("CLOUDY_PIXEL_PERCENTAGE")
    assert names(by_cloud) == ["20190710", "20190610", "20200710"]
    assert names(scenes().sort("CLOUDY_PIXEL_PERCENTAGE", False).limit(1)) == ["20200710"]
    assert ee.Image(by_cloud.toList(2).get(1)).get("system:index").getInfo()[:8] == "20190610"
    assert by_cloud.first().get("CLOUDY_PIXEL_PERCENTAGE").getInfo() == 1.0


def test_first_of_nothing_is_null_and_fails_on_use(sandbox):
    nothing = scenes().filterDate("2001-01-01", "2002-01-01")
    assert nothing.first().getInfo() is None
    with pytest.raises(ee.EEException, match="Image.bandNames: Parameter 'image' is required and may not be null"):
        nothing.first().bandNames().getInfo()
    with pytest.raises(ee.EEException, match="may not be null"):
        world.pixels(nothing.first())


def test_mode_of_nothing_has_no_bands(sandbox):
    nothing = labels("2001-01-01", "2002-01-01")
    assert nothing.mode().bandNames().getInfo() == []
    assert nothing.median().bandNames().getInfo() == []
    with pytest.raises(ee.EEException, match="was applied to an Image with no bands"):
        nothing.mode().select("label").getInfo()
    with pytest.raises(ee.EEException, match="image has none"):
        world.pixels(nothing.mode())


def test_mode_counts_valid_pixels_only_and_keeps_the_type(sandbox):
    array = world.pixels(labels().mode(), 500000, 5099600, 2, 20)["label"]
    assert array.dtype == np.uint8
    assert array[:, 0].tolist() == [0] * 10 + [4] * 10


@pytest.mark.parametrize(
    ("name", "expected", "dtype"),
    [("mean", 3.0, "f8"), ("median", 4.0, "f8"), ("min", 1, "u1"), ("max", 4, "u1"), ("sum", 9.0, "f8"),
     ("count", 3, "i4"), ("mosaic", 4, "u1")],
)  # fmt: skip
def test_reducers_over_a_stack(sandbox, name, expected, dtype):
    array = world.pixels(getattr(labels(), name)(), 500000, 5099000, 1, 1)["label"]
    assert array[0, 0] == expected
    assert array.dtype == np.dtype(dtype)


def test_reduce_names_bands_after_the_reducer(sandbox):
    stack = ee.ImageCollection(world.ERA5)
    reducer = ee.Reducer.mean().combine(ee.Reducer.minMax(), sharedInputs=True)
    image = stack.select("temperature_2m").reduce(reducer)
    assert image.bandNames().getInfo() == ["temperature_2m_mean", "temperature_2m_min", "temperature_2m_max"]
    assert world.pixels(image, width=1, height=1)[0, 0].tolist() == (276.5, 276.0, 277.0)
    assert stack.reduce(ee.Reducer.percentile([50])).bandNames().getInfo()[0] == "temperature_2m_p50"


def test_composites_lose_their_projection(sandbox):
    for composite in (labels().mosaic(), labels().mode(), labels().reduce(ee.Reducer.first())):
        assert composite.projection().getInfo() == {
            "type": "Projection", "crs": "EPSG:4326", "transform": [1, 0, 0, 0, 1, 0]}  # fmt: skip


def test_to_bands_prefixes_the_index(sandbox):
    assert scenes().select("B2").limit(2).toBands().bandNames().getInfo() == [
        "20190610T103021_T32TNS_B2", "20190710T103021_T32TNS_B2"]  # fmt: skip
    made = ee.ImageCollection([ee.Image(1), ee.Image(2)])
    assert made.toBands().bandNames().getInfo() == ["0_constant", "1_constant"]


def test_bands_that_differ_are_refused(sandbox):
    with pytest.raises(ee.EEException, match="Expected a homogeneous image collection"):
        world.pixels(ee.ImageCollection(world.S1).median(), 500000, 5099990, 1, 1)


def test_map_iterate_merge_and_flatten(sandbox):
    numbers = ee.FeatureCollection([ee.Feature(None, {"n": i}) for i in range(4)])
    doubled = numbers.map(lambda f: f.set("n", ee.Number(f.get("n")).multiply(2)))
    assert doubled.aggregate_array("n").getInfo() == [0, 2, 4, 6]
    total = doubled.iterate(lambda f, state: ee.Number(state).add(f.get("n")), 0)
    assert ee.Number(total).getInfo() == 12
    merged = numbers.merge(doubled)
    assert merged.size().getInfo() == 8
    assert merged.first().get("system:index").getInfo() == "1_0"
    nested = numbers.map(lambda f: ee.FeatureCollection([f, f]))
    assert ee.FeatureCollection(nested).flatten().size().getInfo() == 8


def test_map_sees_outer_values_and_nested_arguments(sandbox):
    places = ee.FeatureCollection([ee.Feature(point(*HERE)), ee.Feature(point(0, 0))])

    def count(place):
        near = scenes().filterBounds(place.geometry())
        clear = near.map(lambda image: image.set("at", place.geometry().coordinates()))
        return place.set("n", clear.size(), "at", clear.aggregate_array("at"))

    rows = ee.data.computeFeatures({"expression": places.map(count)})["features"]
    assert [row["properties"]["n"] for row in rows] == [3, 0]
    assert rows[0]["properties"]["at"] == [list(HERE)] * 3


def test_aggregates_skip_what_is_null(sandbox):
    rows = ee.FeatureCollection([ee.Feature(None, {"n": 3}), ee.Feature(None, {}), ee.Feature(None, {"n": 1})])
    assert rows.aggregate_array("n").getInfo() == [3, 1]
    assert rows.aggregate_count("n").getInfo() == 2
    assert rows.aggregate_min("n").getInfo() == 1
    assert rows.aggregate_max("n").getInfo() == 3
    assert rows.aggregate_first("n").getInfo() == 3
    assert rows.aggregate_mean("n").getInfo() == 2


def test_join_by_date(sandbox):
    near = ee.Filter.maxDifference(3 * 86_400_000, "system:time_start", None, "system:time_start")
    joined = ee.Join.saveAll("radar").apply(scenes(), ee.ImageCollection(world.S1), near)
    assert ee.List(ee.Image(joined.first()).get("radar")).size().getInfo() == 2
    assert ee.FeatureCollection(joined).size().getInfo() == 1
    assert ee.Join.inverted().apply(scenes(), ee.ImageCollection(world.S1), near).size().getInfo() == 2


def test_tables_have_their_rows(sandbox):
    table = ee.FeatureCollection(world.ECOREGIONS)
    assert table.filter(ee.Filter.eq("BIOME_NUM", 5)).first().get("ECO_NAME").getInfo() == "Alps"
    assert table.geometry().area().getInfo() == pytest.approx(2 * 8.76e9, rel=0.01)


def test_random_points_lie_in_the_region_and_repeat(sandbox):
    region = ee.FeatureCollection(world.ECOREGIONS).first().geometry()
    first = ee.FeatureCollection.randomPoints(region, 50, 3).geometry().coordinates().getInfo()
    again = ee.FeatureCollection.randomPoints(region, 50, 3).geometry().coordinates().getInfo()
    other = ee.FeatureCollection.randomPoints(region, 50, 4).geometry().coordinates().getInfo()
    assert first == again != other
    assert len(first) == 50
    assert all(8 <= lon <= 9 and 45 <= lat <= 46 for lon, lat in first)


def test_more_than_5000_elements_are_refused(sandbox):
    many = ee.FeatureCollection(ee.List.sequence(1, 5001).map(lambda n: ee.Feature(None, {"n": n})))
    assert many.size().getInfo() == 5001
    with pytest.raises(ee.EEException, match="Collection query aborted after accumulating over 5000 elements"):
        many.getInfo()


class _Endless(ArrayCatalog):
    def images(self, collection_id: str, query: Query):
        if collection_id in self.collections:
            raise QueryTooLarge
        return None


def test_a_catalogue_that_would_enumerate_too_much():
    catalog = _Endless(collections={"A/B": [array_image("A/B/1", [ArrayBand("b", np.ones((2, 2)), UTM_10M)])]})
    with Sandbox(catalog) as sandbox:
        world.connect(sandbox)
        with pytest.raises(ee.EEException, match="accumulating over 5000"):
            ee.ImageCollection("A/B").size().getInfo()
        with pytest.raises(ee.EEException, match="accumulating over 5000"):
            ee.data.listImages({"parent": "A/B"})
