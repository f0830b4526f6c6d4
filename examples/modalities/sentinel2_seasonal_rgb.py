"""Sentinel-2 seasonal medians in red, green and blue, clouds masked pixel by pixel, for the anchor's year."""

from datetime import datetime

import ee

from geocorpus import SEASONS, Band, Chip, Display, Licence, Modality, Pixels, between, seasons, with_fallback

COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"
COLOURS = {"B4": "red", "B3": "green", "B2": "blue"}
_MAX_CLOUD_PERCENT = 20
# Scene classes that hide the ground: shadow, cloud of medium and high probability, cirrus.
_HIDING = (3, 8, 9, 10)


def _clear(image: ee.Image) -> ee.Image:
    """QA60 is empty from 2022-01-25 to 2024-02-28, so the scene classes tell the clouds."""
    scene_class = image.select("SCL")
    clear = scene_class.neq(_HIDING[0])
    for code in _HIDING[1:]:
        clear = clear.And(scene_class.neq(code))
    return image.select(list(COLOURS)).updateMask(clear)


def _season(chip: Chip, start: datetime, end: datetime) -> ee.Image:
    scenes = between(chip, COLLECTION, start, end).filter(ee.Filter.lt("CLOUDY_PIXEL_PERCENTAGE", _MAX_CLOUD_PERCENT))
    return with_fallback(scenes.map(_clear).median(), list(COLOURS)).divide(10000)


def _of_the_year(chip: Chip) -> ee.Image:
    return ee.Image.cat([_season(chip, *span) for span in seasons(chip.acquisition.date.year).values()])


sentinel2_seasonal_rgb = Modality(
    name="sentinel2_seasonal_rgb",
    title="Sentinel-2 seasonal medians in red, green and blue",
    bands=tuple(Band(f"{season}_{colour}", "1", "reflectance") for season in SEASONS for colour in COLOURS.values()),
    dtype="uint16",
    nodata=65535,
    scale=0.0001,
    time_rule="median of the season's clear pixels; winter begins in the December before the anchor's year",
    assets=(COLLECTION,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED",
    licence=Licence(
        "Copernicus Sentinel data terms",
        "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice",
        "Contains modified Copernicus Sentinel data [years].",
    ),
    display=Display("rgb", ("summer_red", "summer_green", "summer_blue"), 0.0, 0.3),
    source=Pixels(_of_the_year),
)
