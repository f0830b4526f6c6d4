"""Copernicus DEM GLO-30 (2024_1): heights of the surface, and slope in degrees, across the borders of its tiles."""

import ee

from geocorpus import Band, Chip, Display, Licence, Modality, Pixels, on_pixels_of, tiles

COLLECTION = "COPERNICUS/DEM/GLO30_2024_1"


def _elevation_and_slope(chip: Chip) -> ee.Image:
    """Slope is taken on the model's own pixels, so the mosaic must keep their projection."""
    stored = tiles(chip, COLLECTION, ["DEM"])
    elevation = stored.toFloat()
    return on_pixels_of(elevation.addBands(ee.Terrain.slope(elevation)), stored)


copernicus_dem = Modality(
    name="copernicus_dem",
    title="Copernicus DEM GLO-30 elevation and slope",
    bands=(Band("elevation", "m", "surface height above the EGM2008 geoid"), Band("slope", "degree")),
    dtype="float32",
    nodata=-9999,
    resampling="bilinear",
    valid_range=(-500, 9000),
    assets=(COLLECTION,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_DEM_GLO30_2024_1",
    licence=Licence(
        "Copernicus WorldDEM-30 licence",
        "https://spacedata.copernicus.eu/documents/20123/121286/CSCDA_ESA_Mission-specific+Annex_31_Oct_22.pdf",
        "Produced using Copernicus WorldDEM-30 © DLR e.V. 2010-2014 and © Airbus Defence and Space GmbH 2014-2018 "
        "provided under COPERNICUS by the European Union and ESA; all rights reserved.",
    ),
    display=Display("hillshade", ("elevation",), 0.0, 4000.0),
    source=Pixels(_elevation_and_slope),
)
