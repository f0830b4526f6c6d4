"""ASTER GDEM version 3: elevation, and slope in degrees as real numbers."""

from __future__ import annotations

import ee
import numpy as np

from exporters.expressions import on_pixels_of, static
from exporters.origin import Origin, PixelSize, Values
from pipeline.licence import Licence
from pipeline.modality import Band, Display, Modality

ASSET = "projects/sat-io/open-datasets/ASTER/GDEM"
# From version 3 on; the first two could not be passed on. The page asks for the words, and does not require them.
_LICENCE = Licence(
    "public domain", "http://www.jspacesystems.or.jp/ersdac/GDEM/E/3.html", "ASTER GDEM courtesy of METI and NASA."
)
# What a pixel of degrees measures, on a sphere or on the ellipsoid, is not documented: 0.7 % of a slope of 45 degrees.
_SLOPE_TOLERANCE_DEG = 0.3


def _elevation_and_slope() -> ee.Image:
    """The slope is computed on the model's own pixels, before interpolation, and beyond the chip's border."""
    stored = ee.Image(ASSET).select([0], ["elevation"])
    # Real before interpolation: whole metres would be rounded again between the model's pixels.
    elevation = stored.toFloat()
    return on_pixels_of(elevation.addBands(ee.Terrain.slope(elevation)), stored)


def _plain_slope(height_m: Values, size: PixelSize) -> Values:
    """The steepest rise in degrees, from the neighbours to the east and west, and to the north and south."""
    around = np.pad(height_m, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    east = (around[:, 1:-1, 2:] - around[:, 1:-1, :-2]) / (2 * size.width_m)
    north = (around[:, :-2, 1:-1] - around[:, 2:, 1:-1]) / (2 * size.height_m)
    return np.degrees(np.arctan(np.hypot(east, north)))


aster = Modality(
    name="aster",
    title="ASTER GDEM v3 elevation and slope",
    bands=(Band("elevation", "m", "height above the EGM96 geoid"), Band("slope", "degree", valid_range=(0, 90))),
    dtype="float32",
    nodata=-9999,
    resampling="bilinear",
    valid_range=(-500, 9000),
    assets=(ASSET,),
    reference="https://gee-community-catalog.org/projects/aster",
    licence=_LICENCE,
    display=Display("hillshade", ("elevation",), 0.0, 4000.0),
    source=static(
        _elevation_and_slope,
        origins=[
            Origin(ASSET, (0,), ("elevation",)),
            Origin(ASSET, (0,), ("slope",), plain=_plain_slope, tolerance=_SLOPE_TOLERANCE_DEG),
        ],
    ),
)
