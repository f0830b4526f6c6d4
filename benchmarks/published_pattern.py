"""How the published MMEarth downloader asks Earth Engine for one location: 20 requests, 22 from level L2A.

Written after the measured breakdown of its calls (one `getInfo` per size, band list, date, projection and centroid
coordinate, then one download URL), not after its code. It serves as the yardstick of `benchmarks.requests`.
"""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ee

_LEVELS = {"l2a": "COPERNICUS/S2_SR_HARMONIZED", "l1c": "COPERNICUS/S2_HARMONIZED"}
_BANDS = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8A", "B8", "B9", "B11", "B12"]
_HALF_WIDTH_M = 650


@dataclass(frozen=True)
class Tile:
    """A location and its draws: year and the level tried first."""

    lonlat: tuple[float, float]
    year: int
    level: str


def pull(tile: Tile) -> bytes | None:
    """Everything the published code asks for one location; None when no scene is found."""
    box = ee.Geometry.Point(tile.lonlat).buffer(_HALF_WIDTH_M).bounds()
    for axis in (0, 1):
        box.centroid(1).coordinates().get(axis).getInfo()
    anchor = _anchor(tile, box)
    if anchor is None:
        return None
    image, date = anchor
    layers = [image, *(layer(box, date) for layer in _LAYERS)]
    for layer in layers[1:]:
        layer.bandNames().getInfo()
    return _download(ee.Image.cat(layers), image, box)


def _anchor(tile: Tile, box: Any) -> tuple[Any, Any] | None:
    level, scenes = tile.level, _scenes(tile.level, tile.year, box)
    if level == "l2a" and not scenes.size().getInfo():
        level, scenes = "l1c", _scenes("l1c", tile.year, box)
    if not scenes.size().getInfo():
        return None
    image = ee.Image(scenes.toList(1).get(0))
    known = image.bandNames().getInfo()
    image.date().format("YYYY-MM-dd").getInfo()
    image.select("B4").projection().getInfo()
    box.getInfo()
    chosen = image.select([band for band in _BANDS if band in known]).resample("bilinear")
    if level == "l2a":
        chosen.bandNames().getInfo()
    return chosen.float(), image.date()


def _scenes(level: str, year: int, box: Any) -> Any:
    scenes = ee.ImageCollection(_LEVELS[level]).filterBounds(box).filterDate(f"{year}-01-01", f"{year}-12-31")
    clear = scenes.filter(ee.Filter.lt("CLOUDY_PIXEL_PERCENTAGE", 10))
    return clear.filter(ee.Filter.contains(".geo", box.buffer(200)))


def _radar(orbit_pass: str) -> Callable[[Any, Any], Any]:
    def layer(box: Any, date: Any) -> Any:
        scenes = ee.ImageCollection("COPERNICUS/S1_GRD").filterBounds(box).filterDate("2017-01-01", "2020-12-31")
        chosen = scenes.filter(ee.Filter.eq("orbitProperties_pass", orbit_pass))
        near = chosen.filter(ee.Filter.eq("instrumentMode", "IW"))
        return ee.Image(near.first()).select("V.").float()

    return layer


def _elevation(box: Any, date: Any) -> Any:
    height = ee.Image("projects/sat-io/open-datasets/ASTER/GDEM").select("b1")
    return height.addBands(ee.Terrain.slope(height)).float()


def _climate(box: Any, date: Any) -> Any:
    months = ee.ImageCollection("ECMWF/ERA5_LAND/MONTHLY_AGGR").filterDate(date.advance(-12, "month"), date)
    mean = months.select("temperature_2m").mean()
    mean.reduceRegion(ee.Reducer.mean(), box, 1000).getInfo()
    return ee.Image.constant(0).float().rename("climate")


def _land_cover_mode(box: Any, date: Any) -> Any:
    scenes = ee.ImageCollection("GOOGLE/DYNAMICWORLD/V1").filterBounds(box)
    mode = scenes.filterDate(date.advance(-6, "month"), date.advance(6, "month")).select("label").mode()
    mode.bandNames().getInfo()
    return mode.float()


def _canopy(box: Any, date: Any) -> Any:
    return ee.Image("users/nlang/ETH_GlobalCanopyHeight_2020_10m_v1").float().rename("height")


def _land_cover(box: Any, date: Any) -> Any:
    return ee.ImageCollection("ESA/WorldCover/v100").first().float()


_LAYERS = (_radar("ASCENDING"), _radar("DESCENDING"), _elevation, _climate, _land_cover_mode, _canopy, _land_cover)


def _download(stack: Any, anchor: Any, box: Any) -> bytes:
    crs = anchor.select(0).projection()
    box.getInfo()
    stack.bandNames().getInfo()
    url = stack.getDownloadURL({"scale": 10, "crs": crs, "region": box, "format": "GEO_TIFF"})
    with urllib.request.urlopen(url) as response:  # noqa: S310
        return io.BytesIO(response.read()).getvalue()
