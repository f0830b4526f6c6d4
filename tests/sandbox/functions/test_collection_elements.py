"""Collections as elements with properties, filters behind a map or a sort, and the size of a clipped image."""

from __future__ import annotations

from dataclasses import dataclass

import ee
import pytest

from sandbox.functions.kept import CARRIERS, COMPUTED, MOVED
from sandbox.raster.stored import QueryTooLarge
from sandbox.service.quotas import OFF
from sandbox.service.server import Sandbox
from tests.sandbox import world
from tests.sandbox.arrays import ArrayCatalog

HERE = [9.02, 46.03]


@dataclass
class Crowded(ArrayCatalog):
    """A catalogue that holds more than 5,000 images of everything, unless a region and a time are asked for."""

    def images(self, collection_id, query):
        if query.region is None or query.start_ms is None:
            raise QueryTooLarge("too many")
        return super().images(collection_id, query)

    def describe(self, asset_id):
        described = super().describe(asset_id)
        return described and {**described, "properties": {"title": "Crowded", "system:version": 3}}


@pytest.fixture(scope="module")
def crowd():
    base = world.catalog()
    with Sandbox(Crowded(base.single, base.collections, base.tables), quotas=OFF) as sandbox:
        yield sandbox


@pytest.fixture
def crowded(crowd):
    if not world.connected_to(crowd):
        world.connect(crowd)
    return crowd


def days(collection):
    found = collection.filterBounds(ee.Geometry.Point(HERE)).filterDate("2019-06-01", "2019-07-01")
    return [index[:8] for index in found.aggregate_array("system:index").getInfo()]


def masked(image):
    return image.updateMask(image.select("SCL").neq(3)).divide(10000).copyProperties(image, ["system:time_start"])


BEFORE = {
    "select": lambda scenes: scenes.select("B2"),
    "sort": lambda scenes: scenes.sort("CLOUDY_PIXEL_PERCENTAGE"),
    "map": lambda scenes: scenes.map(masked),
    "set": lambda scenes: scenes.map(lambda image: image.set("month", image.date().get("month")).set({"a": 1})),
    "cast": lambda scenes: scenes.map(lambda image: image.addBands(image.select("B2").toFloat().rename("x"))),
    "if": lambda scenes: scenes.map(lambda image: ee.Algorithms.If(ee.Number(1).gt(0), image.select(0), image)),
    "merge": lambda scenes: scenes.merge(scenes),
    "three": lambda scenes: scenes.select(".*").sort("CLOUDY_PIXEL_PERCENTAGE").map(masked),
}


@pytest.mark.parametrize("before", BEFORE)
def test_filters_behind_it_reach_the_catalogue(crowded, before):
    expected = ["1_201906", "2_201906"] if before == "merge" else ["20190610"]
    assert days(BEFORE[before](ee.ImageCollection(world.S2))) == expected


def later(image):
    return image.set("system:time_start", ee.Date("2019-06-15").millis())


CHANGING = {
    "time": lambda scenes: scenes.map(later),
    "times": lambda scenes: scenes.map(lambda image: image.set({"system:time_start": 1560556800000})),
    "copied": lambda scenes: scenes.map(lambda image: ee.Image(1).copyProperties(later(image), ["system:time_start"])),
    "limit": lambda scenes: scenes.limit(2),
}


@pytest.mark.parametrize("before", CHANGING)
def test_filters_behind_what_changes_their_property_do_not(sandbox, before):
    """Of three scenes, one is of June 2019; the function moves all of them there, and a limit leaves two."""
    assert len(days(CHANGING[before](ee.ImageCollection(world.S2)))) == (1 if before == "limit" else 3)


def test_an_unfiltered_collection_is_still_too_large(crowded):
    with pytest.raises(ee.EEException, match="over 5000 elements"):
        ee.ImageCollection(world.S2).select("B2").size().getInfo()


def test_a_collection_has_properties(crowded):
    scenes = ee.ImageCollection(world.S2)
    assert scenes.toDictionary().getInfo() == {"title": "Crowded"}
    assert scenes.filterDate("2019-01-01").select("B2").get("title").getInfo() == "Crowded"
    assert set(scenes.propertyNames().getInfo()) == {"title", "system:version"}
    assert scenes.set("title", "mine").get("title").getInfo() == "mine"
    assert ee.ImageCollection([ee.Image(1)]).set({"a": 1}).getInfo()["properties"] == {"a": 1}


def applied(name, image):
    """The result of an algorithm on an image, with whatever else it needs."""
    others = {
        "select": (["B2"],), "rename": (["a", "b", "c", "d"],), "clip": (image.geometry(),), "where": (1, 1),
        "resample": (), "setDefaultProjection": ("EPSG:4326", None, 10), "reproject": ("EPSG:4326", None, 10),
        "updateMask": (1,), "cast": ({"B2": "float"},), "addBands": (ee.Image(1),),
        "normalizedDifference": (["B2", "B3"],),
    }  # fmt: skip
    short = name.removeprefix("Image.")
    binary = (2,) if COMPUTED.get(name) == "image1" else ()
    return ee.Image(ee.apply(name, dict(zip(_arguments(name), (image, *others.get(short, binary)), strict=False))))


def _arguments(name):
    return [argument["name"] for argument in ee.ApiFunction.lookup(name).getSignature()["args"]]


def test_carriers_keep_what_is_said_of_them(sandbox):
    image = ee.Image(f"{world.S2}/20190610T103021_T32TNS")
    names = [name for name in (*CARRIERS, *COMPUTED) if ee.ApiFunction.lookup(name) is not None]
    start = image.get("system:time_start").getInfo()
    results = [applied(name, image) for name in names]
    times = ee.List([result.get("system:time_start") for result in results[: len(CARRIERS)]]).getInfo()
    assert times == [start] * len(CARRIERS)
    still = [result.get("system:footprint") for name, result in zip(names, results, strict=True) if name not in MOVED]
    footprints = ee.List([image.get("system:footprint"), *still]).getInfo()
    assert all(footprint == footprints[0] for footprint in footprints)


def test_the_footprint_is_a_property_of_bounded_images(sandbox):
    image = ee.Image(f"{world.S2}/20190610T103021_T32TNS")
    assert "system:footprint" in image.propertyNames().getInfo()
    assert image.toDictionary(["system:footprint"]).getInfo()["system:footprint"]["type"] == "Polygon"
    assert "system:footprint" not in ee.Image(1).propertyNames().getInfo()
    assert image.getInfo()["properties"]["system:footprint"]["type"] == "Polygon"


def box(west, north, east, south):
    return ee.Geometry.Rectangle([west, south, east, north], "EPSG:32632", False)


def test_a_clipped_image_says_where_its_pixels_are(sandbox):
    image = ee.Image(f"{world.S2}/20190610T103021_T32TNS").select(["B2", "B11"])
    first, second = image.clip(box(500100, 5099800, 500300, 5099700)).getInfo()["bands"]
    assert (first["dimensions"], first["origin"]) == ([20, 10], [10, 20])
    assert (second["dimensions"], second["origin"]) == ([10, 5], [5, 10])
    assert first["crs_transform"] == [10, 0, 500000, 0, -10, 5100000]
    assert "origin" not in image.getInfo()["bands"][0]


def test_a_clip_beyond_the_image_ends_at_its_edge(sandbox):
    clipped = ee.Image(world.HOLES).clip(box(499000, 5100500, 500050, 5099900))
    assert clipped.getInfo()["bands"][0]["dimensions"] == [5, 10]


def test_a_download_has_the_size_of_its_box(sandbox):
    image = ee.Image(world.HOLES)
    prepared, _ = image.prepare_for_export({"region": box(500100, 5099800, 500300, 5099700), "scale": 20})
    band = prepared.getInfo()["bands"][0]
    assert (band["dimensions"], band["crs_transform"]) == ([10, 5], [20, 0, 500100, 0, -20, 5099800])
