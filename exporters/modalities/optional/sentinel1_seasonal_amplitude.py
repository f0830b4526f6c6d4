"""Sentinel-1 seasonal backscatter by polarisation and orbit pass: mean power of the season, stored in decibels.

A mean of decibels would be that of logarithms: it lies below the mean power by what speckle and weather spread, some
0.5 dB for a single GRD pixel's 4.4 looks, and by another amount where scenes vary more. Power adds up; decibels do not.
"""

from __future__ import annotations

import math
from datetime import datetime

import ee

from exporters import scenes
from exporters.expressions import (
    ORBIT_PASSES,
    SEASONS,
    between,
    on_pixels_of,
    seasons,
    seasons_unfinished,
    with_fallback,
)
from exporters.sources import Pixels
from pipeline.chip import Chip
from pipeline.modality import Band, Display, Modality

POLARISATIONS = ("VV", "VH")
_RESOLUTION_M = 10


def _power(image: ee.Image) -> ee.Image:
    """The collection is in decibels; power is also what is interpolated."""
    stored = image.select(list(POLARISATIONS))
    return on_pixels_of(stored.multiply(math.log(10) / 10).exp(), stored)


def _scenes(chip: Chip, orbit_pass: str, start: datetime, end: datetime) -> ee.ImageCollection:
    usable = ee.Filter.And(
        ee.Filter.eq("instrumentMode", "IW"),
        ee.Filter.eq("resolution_meters", _RESOLUTION_M),
        ee.Filter.eq("orbitProperties_pass", orbit_pass.upper()),
        *[ee.Filter.listContains("transmitterReceiverPolarisation", name) for name in POLARISATIONS],
    )
    return between(chip, scenes.RADAR, start, end).filter(usable).map(_power)


def _by_season_and_pass(chip: Chip) -> tuple[ee.ImageCollection, ...]:
    spans = seasons(chip.acquisition.date.year).values()
    return tuple(_scenes(chip, orbit_pass, *span) for span in spans for orbit_pass in ORBIT_PASSES)


def _means_db(*collections: ee.ImageCollection) -> ee.Image:
    means = [with_fallback(images.mean(), POLARISATIONS) for images in collections]
    return ee.Image.cat(means).log10().multiply(10)


sentinel1_seasonal_amplitude = Modality(
    name="sentinel1_seasonal_amplitude",
    title="Sentinel-1 GRD backscatter in dB, mean power of each season per orbit pass",
    bands=tuple(
        Band(f"{season}_{name.lower()}_{orbit_pass}", "dB", f"sigma nought {name}, {orbit_pass} pass")
        for season in SEASONS
        for orbit_pass in ORBIT_PASSES
        for name in POLARISATIONS
    ),
    dtype="int16",
    nodata=-32768,
    scale=0.01,
    resampling="bilinear",
    valid_range=(-7000, 4000),
    time_rule="mean power of the season's scenes; winter begins in the December before the anchor's year",
    assets=(scenes.RADAR,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S1_GRD",
    licence=scenes.LICENCE,
    display=Display("grey", ("summer_vv_ascending",), -25.0, 0.0),
    source=Pixels(
        _by_season_and_pass,
        seasons_unfinished,
        then=_means_db,
        unchecked="it is the mean of a season of scenes, each of which would be a request",
    ),
)
