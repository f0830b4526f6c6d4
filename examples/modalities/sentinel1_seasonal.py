"""Sentinel-1 seasonal means of backscatter, per orbit pass, taken in linear power and stored in decibels."""

import math
from datetime import datetime

import ee

from geocorpus import (
    ORBIT_PASSES,
    SEASONS,
    Band,
    Chip,
    Display,
    Licence,
    Modality,
    Pixels,
    between,
    on_pixels_of,
    seasons,
    with_fallback,
)

COLLECTION = "COPERNICUS/S1_GRD"
POLARISATIONS = ["VV", "VH"]


def _power(image: ee.Image) -> ee.Image:
    """The collection is in decibels, whose mean is no mean of energy; interpolated before the logarithm, too."""
    stored = image.select(POLARISATIONS)
    return on_pixels_of(stored.multiply(math.log(10) / 10).exp(), stored).resample("bilinear")


def _mean(chip: Chip, orbit_pass: str, start: datetime, end: datetime) -> ee.Image:
    usable = ee.Filter.And(
        ee.Filter.eq("instrumentMode", "IW"),
        ee.Filter.eq("orbitProperties_pass", orbit_pass.upper()),
        *[ee.Filter.listContains("transmitterReceiverPolarisation", name) for name in POLARISATIONS],
    )
    scenes = between(chip, COLLECTION, start, end).filter(usable)
    return with_fallback(scenes.map(_power).mean(), POLARISATIONS).log10().multiply(10)


def _of_the_year(chip: Chip) -> ee.Image:
    spans = seasons(chip.acquisition.date.year).values()
    return ee.Image.cat([_mean(chip, orbit_pass, *span) for span in spans for orbit_pass in ORBIT_PASSES])


sentinel1_seasonal = Modality(
    name="sentinel1_seasonal",
    title="Sentinel-1 seasonal mean backscatter",
    bands=tuple(
        Band(f"{season}_{name.lower()}_{orbit_pass}", "dB")
        for season in SEASONS
        for orbit_pass in ORBIT_PASSES
        for name in POLARISATIONS
    ),
    dtype="int16",
    nodata=-32768,
    scale=0.01,
    valid_range=(-6000, 4000),
    time_rule="mean power of the season's scenes; winter begins in the December before the anchor's year",
    assets=(COLLECTION,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S1_GRD",
    licence=Licence(
        "Copernicus Sentinel data terms",
        "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice",
        "Contains modified Copernicus Sentinel data [years].",
    ),
    display=Display("grey", ("summer_vv_ascending",), -25.0, 0.0),
    source=Pixels(_of_the_year),
)
