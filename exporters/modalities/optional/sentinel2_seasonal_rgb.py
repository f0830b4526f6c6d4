"""Sentinel-2 seasonal medians in red, green and blue, clouds masked pixel by pixel, for the anchor's year."""

from __future__ import annotations

from datetime import datetime

import ee

from exporters import scenes
from exporters.expressions import SEASONS, between, seasons, seasons_unfinished, with_fallback
from exporters.sources import Pixels
from pipeline.chip import Chip
from pipeline.modality import Band, Display, Modality

COLLECTION = scenes.OPTICAL["l2a"]
COLOURS = {"B4": "red", "B3": "green", "B2": "blue"}
REFLECTANCE = 1e-4
_MAX_CLOUD_PERCENT = 20
# Scene classes without ground in sight: none, saturated, shadow, cloud of medium and high probability, cirrus.
HIDING = (0, 1, 3, 8, 9, 10)


def _clear(image: ee.Image) -> ee.Image:
    """QA60 is empty from 2022-01-25 to 2024-02-28, so the scene classes tell the clouds."""
    scene_class = image.select("SCL")
    clear = scene_class.neq(HIDING[0])
    for code in HIDING[1:]:
        clear = clear.And(scene_class.neq(code))
    return image.select(list(COLOURS)).updateMask(clear)


def _scenes(chip: Chip, start: datetime, end: datetime) -> ee.ImageCollection:
    found = between(chip, COLLECTION, start, end).filter(ee.Filter.lt("CLOUDY_PIXEL_PERCENTAGE", _MAX_CLOUD_PERCENT))
    return found.map(_clear)


def _by_season(chip: Chip) -> tuple[ee.ImageCollection, ...]:
    return tuple(_scenes(chip, *span) for span in seasons(chip.acquisition.date.year).values())


def _medians(*by_season: ee.ImageCollection) -> ee.Image:
    medians = [with_fallback(images.median(), list(COLOURS)) for images in by_season]
    return ee.Image.cat(medians).multiply(REFLECTANCE)


sentinel2_seasonal_rgb = Modality(
    name="sentinel2_seasonal_rgb",
    title="Sentinel-2 surface reflectance in red, green and blue, median of each season",
    bands=tuple(Band(f"{season}_{colour}", "1", "reflectance") for season in SEASONS for colour in COLOURS.values()),
    dtype="uint16",
    nodata=65535,
    scale=REFLECTANCE,
    valid_range=(0, 20000),
    time_rule="median of the season's clear pixels; winter begins in the December before the anchor's year",
    assets=(COLLECTION,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED",
    licence=scenes.LICENCE,
    display=Display("rgb", ("summer_red", "summer_green", "summer_blue"), 0.0, 0.3),
    source=Pixels(
        _by_season,
        seasons_unfinished,
        then=_medians,
        unchecked="it is the median of a season of scenes, each of which would be a request",
    ),
)
