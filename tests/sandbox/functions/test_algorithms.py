"""Every algorithm that the published MMEarth code and a lean pipeline put on the wire, called by the real client."""

from __future__ import annotations

from pathlib import Path

import ee
import pytest

from sandbox.client_files import signatures
from sandbox.functions import algorithms
from sandbox.registry import REGISTRY
from tests.sandbox import world

PUBLISHED = """
Collection.filter Collection.first Collection.limit Collection.map Collection.size Collection.toList Date
Date.difference Date.format DateRange Element.set Feature Filter.contains Filter.dateRangeContains Filter.equals
Filter.intersects Filter.lessThan Geometry.buffer Geometry.centroid Geometry.coordinates GeometryConstructors.Polygon
Image.addBands Image.bandNames Image.clip Image.clipToBoundsAndScale Image.constant Image.date Image.eq Image.float
Image.load Image.projection Image.reduceRegion Image.rename Image.reproject Image.resample Image.select
Image.setDefaultProjection Image.where ImageCollection.fromImages ImageCollection.load ImageCollection.reduce
ImageCollection.toBands List.get Number.abs Projection Reducer.max Reducer.mean Reducer.min Reducer.sum Terrain.slope
reduce.mode Collection.loadTable Collection.geometry FeatureCollection.randomPoints Feature.buffer Feature.bounds
""".split()
LEAN = """
AggregateFeatureCollection.array Collection Element.get Feature.geometry Geometry.bounds GeometryConstructors.Point
Image.add Image.toFloat Image.toInt16 Image.toUint16 Image.toUint8 Image.unmask
""".split()


@pytest.mark.parametrize("name", PUBLISHED + LEAN)
def test_it_is_registered(name):
    assert name in REGISTRY
    assert name in signatures()


def test_the_published_list_is_complete():
    assert {"sandbox.profiles", "sandbox.functions.joins"} <= {module.__name__ for module in algorithms.MODULES}
    assert len(PUBLISHED) == len(set(PUBLISHED)) == 56


def test_no_algorithm_is_registered_that_the_client_does_not_know():
    assert not REGISTRY.keys() - signatures().keys()


def test_the_documentation_lists_every_algorithm():
    page = (Path(__file__).resolve().parents[3] / "docs" / "sandbox.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `") and line.count("|") == 4]
    listed = {
        group.strip(" `") + ("" if name.strip() == "(itself)" else f".{name.strip()}")
        for _, group, count, names, _ in rows
        if count.strip().isdigit()
        for name in names.split(",")
    }
    assert listed == REGISTRY.keys()


def sampled_tiles():
    """As the published code draws its tiles: points in a region, buffered and squared."""
    region = ee.FeatureCollection(world.ECOREGIONS).filter(ee.Filter.eq("BIOME_NUM", 5)).geometry()
    points = ee.FeatureCollection.randomPoints(region, 3, 7)
    return points.map(lambda point: point.buffer(650).bounds())


def anchor(tile):
    """The scene of a tile: contains it, has little cloud, is near in time, in the published code's manner."""
    scenes = (
        ee.ImageCollection(world.S2)
        .filter(ee.Filter.contains(".geo", tile))
        .filterDate("2019-01-01", "2020-01-01")
        .filterMetadata("CLOUDY_PIXEL_PERCENTAGE", "less_than", 10)
    )
    date = ee.Date("2019-06-20")
    timed = scenes.map(lambda image: image.set("gap", image.date().difference(date, "day").abs()))
    return timed.sort("gap")


def stack(tile, scene):
    """All layers of the tile in one image."""
    projection = scene.select("B2").projection()
    dem = ee.Image(world.DEM).clip(tile)
    labels = ee.ImageCollection(world.DW).filterBounds(tile).select("label").mode()
    cover = ee.ImageCollection(world.WORLDCOVER).first()
    cover = cover.where(cover.eq(10), ee.Image.constant(0)).rename("cover")
    terrain = ee.Image.cat(dem.rename("dem"), ee.Terrain.slope(dem)).resample("bilinear").reproject(projection)
    return ee.Image.cat(scene.select(["B2", "B11"]), terrain, labels, cover).float().clip(tile)


def climate(tile):
    """Twelve months to mean, least, greatest and total."""
    months = ee.ImageCollection(world.ERA5).filterDate("2019-01-01", "2020-01-01")
    parts = [months.select("temperature_2m").reduce(reducer)
             for reducer in (ee.Reducer.mean(), ee.Reducer.min(), ee.Reducer.max())]  # fmt: skip
    total = months.select("total_precipitation_sum").reduce(ee.Reducer.sum())
    joined = ee.ImageCollection([*parts, total]).toBands()
    return joined.reduceRegion(ee.Reducer.mean(), tile, 11132)


def test_the_clients_own_graphs_exercise_all_of_them(sandbox):
    assert sampled_tiles().size().getInfo() == 3
    tile = ee.Geometry.Polygon([[[9.01, 46.03], [9.02, 46.03], [9.02, 46.04], [9.01, 46.04], [9.01, 46.03]]])
    assert ee.Number(tile.centroid().coordinates().get(0)).getInfo() == pytest.approx(9.015)
    assert tile.buffer(-200).area(1).getInfo() < tile.area(1).getInfo()
    scenes = anchor(tile)
    scene = ee.Image(scenes.toList(scenes.size()).get(0))
    assert scene.date().format("YYYY-MM-dd").getInfo() == "2019-06-10"
    assert scenes.first().bandNames().getInfo() == ["B2", "B3", "B11", "SCL"]
    assert climate(tile).getInfo() == {
        "0_temperature_2m_mean": 276.5, "1_temperature_2m_min": 276.0, "2_temperature_2m_max": 277.0,
        "3_total_precipitation_sum_sum": pytest.approx(0.553, abs=1e-5)}  # fmt: skip
    image = stack(tile, scene)
    url = image.getDownloadURL({"region": tile, "scale": 10, "crs": "EPSG:32632", "format": "NPY"})
    assert url.startswith(sandbox.url)
    lean(tile)
    missing = set(PUBLISHED + LEAN) - sandbox.counters()["algorithms"].keys()
    assert not missing


def lean(tile):
    """One metadata request and one pixel request, as a lean pipeline makes them."""
    places = ee.FeatureCollection([ee.Feature(ee.Geometry.Point([9.02, 46.03]), {"id": "a"})])

    def scout(place):
        box = place.geometry().buffer(640).bounds()
        result = ee.ImageCollection(world.S2).filter(ee.Filter.contains(".geo", box))
        return place.set("ids", result.aggregate_array("system:index"), "id", place.get("id"))

    row = ee.data.computeFeatures({"expression": places.map(scout)})["features"][0]["properties"]
    scene = ee.Image(f"{world.S2}/{row['ids'][0]}")
    parts = [scene.select("B2").toUint16(), ee.Image(world.DEM).unmask(-32768, False).toInt16(),
             ee.Terrain.slope(ee.Image(world.DEM)).toFloat(),
             ee.ImageCollection(world.DW).select("label").mode().add(1).toUint8()]  # fmt: skip
    array = world.pixels(ee.Image.cat(parts))
    assert [array.dtype[i].str for i in range(4)] == ["<u2", "<i2", "<f4", "|u1"]
