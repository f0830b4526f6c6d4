"""Dates, geometry, terrain, regions, lists and the like, against independent values."""

from __future__ import annotations

import math

import ee
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from shapely.geometry import Point

from sandbox.functions.dates import Date, advanced, formatted, parsed
from sandbox.functions.geometry import Geometry, bounded, buffered
from tests.sandbox import world

GEOD = Geod(ellps="WGS84")


# Dates


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [(None, "2019-03-05T07:08:09"), ("YYYY-MM-dd", "2019-03-05"), ("D", "64"), ("DDD", "064"), ("MMM d", "Mar 5"),
     ("yyyyMMdd'T'HHmmss", "20190305T070809"), ("SSS", "250"), ("YY", "19"), ("EEE", "Tue")],
)  # fmt: skip
def test_date_format(sandbox, pattern, expected):
    assert ee.Date("2019-03-05T07:08:09.250").format(pattern).getInfo() == expected


def test_date_parts_and_arithmetic(sandbox):
    date = ee.Date("2020-01-31T12:00:00")
    assert date.get("month").getInfo() == 1
    assert date.getRelative("day", "year").getInfo() == 30
    assert date.advance(1, "month").format("YYYY-MM-dd").getInfo() == "2020-02-29"
    assert date.advance(-1, "year").format("YYYY-MM-dd").getInfo() == "2019-01-31"
    assert date.advance(1.5, "day").difference(date, "hour").getInfo() == 36
    assert ee.Date("2021-01-01").difference("2020-01-01", "year").getInfo() == pytest.approx(366 / 365.25)
    assert ee.Date.fromYMD(2020, 2, 29).millis().getInfo() == 1582934400000
    assert date.getRange("month").end().format("YYYY-MM-dd").getInfo() == "2020-02-01"
    assert ee.Date("2020-01-01", "Europe/Copenhagen").millis().getInfo() == 1577833200000


@pytest.mark.parametrize("text", ["2019-6", "2019-6-1", "2019-06-1", "2019-6-01", "2019-6-1T00:00:00Z"])
def test_months_and_days_of_one_digit_are_read(text):
    assert parsed(text) == parsed("2019-06-01")


@given(st.integers(-(10**12), 4 * 10**12))
def test_formatting_a_date_and_reading_it_gives_it_back(ms):
    date = Date(ms)
    assert parsed(formatted(date, "YYYY-MM-dd'T'HH:mm:ss.SSS")) == date


@given(st.integers(0, 10**12), st.integers(-50, 50))
def test_months_forth_and_back_lose_at_most_the_clamped_days(ms, months):
    back = advanced(advanced(Date(ms), months, "month"), -months, "month")
    assert 0 <= Date(ms).ms - back.ms <= 3 * 86_400_000


def test_a_range_must_not_be_empty(sandbox):
    with pytest.raises(ee.EEException, match="must be after the start"):
        ee.ImageCollection(world.S2).filterDate("2020-01-01", "2019-01-01").size().getInfo()


# Geometry


@settings(max_examples=60, deadline=None)
@given(st.floats(-179, 179), st.floats(-85, 85), st.floats(100, 5000))
def test_a_buffer_is_right_at_all_latitudes(lon, lat, distance):
    circle = buffered(Geometry(Point(lon, lat)), distance).lonlat
    for x, y in circle.exterior.coords:
        assert GEOD.inv(lon, lat, x, y)[2] == pytest.approx(distance, rel=1e-6)
    west, south, east, north = bounded(Geometry(circle)).lonlat.bounds
    assert GEOD.inv(lon, south, lon, north)[2] == pytest.approx(2 * distance, rel=1e-3)
    assert west < lon < east


@settings(max_examples=15, deadline=None)
@given(st.floats(-170, 170), st.floats(-75, 75), st.floats(500, 3000))
def test_a_polygons_buffer_keeps_its_distance(lon, lat, distance):
    circle = Geometry(Point(lon, lat).buffer(0.01))
    grown = buffered(circle, distance)
    edge = np.array(circle.lonlat.exterior.segmentize(0.0002).coords)
    for x, y in grown.lonlat.exterior.coords[::16]:
        gap = GEOD.inv(np.full(len(edge), x), np.full(len(edge), y), edge[:, 0], edge[:, 1])[2].min()
        assert gap == pytest.approx(distance, rel=0.01)


def test_rectangles_begin_in_the_south_west(sandbox):
    rings = ee.Geometry.Point([8, 45]).buffer(100).bounds().coordinates().getInfo()
    west, south = rings[0][0]
    assert west < 8 < rings[0][1][0]
    assert rings[0][1][1] == south < 45 < rings[0][2][1]
    assert rings[0][0] == rings[0][-1]


def test_geometry_measures_and_relations(sandbox):
    square = ee.Geometry.Rectangle([8, 45, 9, 46])
    assert square.area().getInfo() == pytest.approx(8.7e9, rel=0.01)
    assert square.centroid().coordinates().getInfo() == [8.5, 45.5]
    assert square.contains(ee.Geometry.Point([8.1, 45.1])).getInfo() is True
    assert ee.Geometry.Point([8.1, 45.1]).containedIn(square).getInfo() is True
    assert square.intersects(ee.Geometry.Point([10, 45.1])).getInfo() is False
    pair = ee.Geometry.MultiPolygon([[[[0, 0], [1, 0], [1, 1], [0, 0]]], [[[5, 5], [6, 5], [6, 6], [5, 5]]]])
    assert pair.type().getInfo() == "MultiPolygon"
    assert pair.bounds().coordinates().getInfo()[0][2] == [6, 6]
    assert square.intersection(ee.Geometry.Rectangle([8.5, 45, 10, 46])).bounds().getInfo()["coordinates"][0][0] == [
        8.5, 45]  # fmt: skip
    assert ee.Geometry.Point([0, 0]).distance(ee.Geometry.Point([0, 1])).getInfo() == pytest.approx(110574, rel=1e-3)


def test_geometry_in_a_projection(sandbox):
    box = ee.Geometry.Rectangle([500000, 5099000, 501000, 5100000], "EPSG:32632", False)
    assert box.area(1).getInfo() == pytest.approx(1e6, rel=2e-3)
    assert box.transform("EPSG:4326").coordinates().getInfo()[0][0][0] == pytest.approx(9, abs=1e-6)


# Terrain


def test_slope_is_the_gradient_in_metres_on_the_native_grid(sandbox):
    slope = ee.Terrain.slope(ee.Image(world.DEM))
    array = world.pixels(slope, 8.95, 46.05, 3, 3, 1 / 3600, "EPSG:4326")["slope"]
    metres = math.cos(math.radians(46.05 - 0.5 / 3600)) * 111319.49 / 3600
    assert array.dtype == np.float32
    assert array[0, 0] == pytest.approx(math.degrees(math.atan(10 / metres)), abs=1e-4)


def test_slope_off_its_grid_is_the_nearest_native_slope(sandbox):
    slope = ee.Terrain.slope(ee.Image(world.DEM))
    native = world.pixels(slope, 8.95, 46.05, 1, 300, 1 / 3600, "EPSG:4326")["slope"]
    utm = world.pixels(slope, 500000, 5098000, 32, 32)["slope"]
    assert native.min() <= utm.min() and utm.max() <= native.max()
    assert slope.projection().getInfo()["crs"] == "EPSG:4326"


def test_slope_is_masked_beside_missing_neighbours(sandbox):
    edge = ee.Terrain.slope(ee.Image(world.HOLES)).mask()
    assert world.pixels(edge, 500000, 5100000, 3, 3)["slope"].tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]
    assert world.pixels(edge, 500980, 5098500, 3, 1)["slope"].tolist() == [[1, 0, 0]]


def test_aspect_points_down(sandbox):
    rising_east = ee.Image.pixelLonLat().select("longitude").multiply(1e6).setDefaultProjection("EPSG:32632", None, 10)
    assert world.pixels(ee.Terrain.aspect(rising_east))["aspect"][3, 3] == pytest.approx(270, abs=0.5)
    assert world.pixels(ee.Terrain.hillshade(ee.Image(world.DEM)))["hillshade"].dtype == np.float32


# Regions


def test_reduce_region_weights_the_edge(sandbox):
    image = ee.Image(f"{world.S2}/20190610T103021_T32TNS").select("B2")
    region = ee.Geometry.Rectangle([500000, 5099990, 500014, 5100000], "EPSG:32632", False)
    values = image.reduceRegion(ee.Reducer.mean(), region, 10)
    assert values.getInfo()["B2"] == pytest.approx((10 * 1 + 11 * 0.4) / 1.4)
    assert image.reduceRegion(ee.Reducer.sum(), region, 10).getInfo()["B2"] == pytest.approx(14.4)
    assert image.reduceRegion(ee.Reducer.minMax(), region, 10).getInfo() == {"B2_min": 10, "B2_max": 10}


def test_reduce_region_of_a_coarse_image_over_a_chip(sandbox):
    climate = ee.Image(ee.ImageCollection(world.ERA5).first())
    chip = ee.Geometry.Point([9.02, 46.03]).buffer(640).bounds()
    result = climate.reduceRegion(ee.Reducer.mean(), chip, 11132).getInfo()
    assert result["temperature_2m"] == pytest.approx(276)
    nowhere = climate.reduceRegion(ee.Reducer.mean(), ee.Geometry.Point([-100, 0]), 11132).getInfo()
    assert nowhere == {"temperature_2m": None, "total_precipitation_sum": None}


def test_reduce_region_refuses_too_many_pixels(sandbox):
    big = ee.Geometry.Rectangle([500000, 5090000, 510000, 5100000], "EPSG:32632", False)
    image = ee.Image(world.HOLES)
    with pytest.raises(ee.EEException, match="Too many pixels in the region. Found 1000000, but maxPixels allows only"):
        image.reduceRegion(ee.Reducer.mean(), big, 10, maxPixels=1000).getInfo()
    assert image.reduceRegion(ee.Reducer.count(), big, 10, maxPixels=1000, bestEffort=True).getInfo()["b1"] > 0


def test_sample_rectangle_is_two_dimensional(sandbox):
    region = ee.Geometry.Rectangle([500000, 5099980, 500030, 5100000], "EPSG:32632", False)
    result = ee.Image(world.HOLES).sampleRectangle(region).get("b1").getInfo()
    assert result == [[0, 1, 2], [100, 101, 102]]
    with pytest.raises(ee.EEException, match="Too many pixels in sample; must be <= 262144"):
        big = ee.Geometry.Rectangle([500000, 5090000, 510000, 5100000], "EPSG:32632", False)
        ee.Image(world.HOLES).sampleRectangle(big).getInfo()


# Lists, dictionaries, text, branching


def test_lists(sandbox):
    numbers = ee.List([3, 1, 2])
    assert numbers.sort().reverse().getInfo() == [3, 2, 1]
    assert numbers.map(lambda n: ee.Number(n).add(1)).cat([9]).getInfo() == [4, 2, 3, 9]
    assert numbers.get(-1).getInfo() == 2
    assert numbers.reduce(ee.Reducer.sum()).getInfo() == 6
    assert ee.List.sequence(0, 10, 5).getInfo() == [0, 5, 10]
    assert numbers.zip(["a", "b", "c"]).getInfo() == [[3, "a"], [1, "b"], [2, "c"]]
    assert numbers.filter(ee.Filter.gt("item", 1)).getInfo() == [3, 2]
    assert numbers.iterate(lambda n, total: ee.Number(total).add(n), 0).getInfo() == 6
    with pytest.raises(ee.EEException, match="out of range: 7"):
        numbers.get(7).getInfo()


def test_dictionaries_text_and_branches(sandbox):
    entries = ee.Dictionary({"b": 2, "a": 1})
    assert entries.keys().getInfo() == ["a", "b"]
    assert entries.values(["b"]).getInfo() == [2]
    assert entries.map(lambda key, value: ee.Number(value).multiply(10)).getInfo() == {"a": 10, "b": 20}
    assert entries.combine({"b": 5}).get("b").getInfo() == 5
    with pytest.raises(ee.EEException, match="does not contain key: 'z'"):
        entries.get("z").getInfo()
    assert ee.String("abc").cat("d").toUpperCase().getInfo() == "ABCD"
    assert ee.String("a_b_c").split("_").getInfo() == ["a", "b", "c"]
    assert ee.String("x12").match("[0-9]+").getInfo() == ["12"]
    assert ee.Algorithms.If(ee.Number(1).gt(2), "yes", "no").getInfo() == "no"
    assert ee.Number(7).format("%03d").getInfo() == "007"


def test_a_branch_not_taken_is_not_evaluated(sandbox):
    broken = ee.Image("no/such/asset").bandNames()
    assert ee.Algorithms.If(True, 1, broken).getInfo() == 1
