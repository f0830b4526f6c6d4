"""ASTER GDEM version 3: elevation, and slope in degrees as real numbers."""

from __future__ import annotations

import ee

from exporters.expressions import static
from pipeline.modality import Band, Display, Modality

ASSET = "projects/sat-io/open-datasets/ASTER/GDEM"


def _elevation_and_slope() -> ee.Image:
    """The slope is computed on the model's own pixels, before interpolation, and beyond the chip's border."""
    elevation = ee.Image(ASSET).select([0], ["elevation"]).toFloat()
    return elevation.addBands(ee.Terrain.slope(elevation))


aster = Modality(
    name="aster",
    title="ASTER GDEM v3 elevation and slope",
    bands=(Band("elevation", "m", "height above the EGM96 geoid"), Band("slope", "degree")),
    dtype="float32",
    nodata=-9999,
    resampling="bilinear",
    valid_range=(-500, 9000),
    assets=(ASSET,),
    reference="https://gee-community-catalog.org/projects/aster",
    display=Display("hillshade", ("elevation",), 0.0, 4000.0),
    source=static(_elevation_and_slope),
)
