"""A modality file of a user's own: Copernicus DEM GLO-30, the tile under the chip."""

import ee

from exporters.expressions import footprint
from exporters.sources import Pixels
from pipeline.chip import Chip
from pipeline.modality import Band, Display, Modality


def _tile(chip: Chip) -> ee.Image:
    tiles = ee.ImageCollection("COPERNICUS/DEM/GLO30_2024_1").filterBounds(footprint(chip))
    return ee.Image(tiles.first()).select(["DEM"])


copernicus_dem = Modality(
    name="copernicus_dem",
    title="Copernicus DEM GLO-30",
    bands=(Band("DEM", "m"),),
    dtype="float32",
    nodata=-9999,
    resampling="bilinear",
    valid_range=(-500, 9000),
    assets=("COPERNICUS/DEM/GLO30_2024_1",),
    display=Display("hillshade", ("DEM",)),
    source=Pixels(_tile),
)
