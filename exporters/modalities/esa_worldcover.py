"""ESA WorldCover 2020: 10 m land cover, eleven classes. Version 200 (2021) uses another method: do not mix them."""

from __future__ import annotations

import ee

from exporters.expressions import static
from exporters.origin import Origin
from pipeline.licence import cc_by_4
from pipeline.modality import Band, Category, Display, Modality

COLLECTION = "ESA/WorldCover/v100"
_LICENCE = cc_by_4(
    "© ESA WorldCover project 2020 / Contains modified Copernicus Sentinel data (2020) processed by ESA WorldCover "
    "consortium. Zanaga, D. et al. (2021): ESA WorldCover 10 m 2020 v100. https://doi.org/10.5281/zenodo.5571936"
)


def _own_pixels() -> ee.Image:
    """The map on its own pixels, of 1/12000 degree.

    Beyond some 57 degrees, 10 m are more than two of them in longitude. A request would be given a level of the map's
    pyramid there (guides/scale), on which three pixels in a hundred have another class.
    """
    images = ee.ImageCollection(COLLECTION).select(["Map"])
    # Each on its own: a collection made of files has maps in several projections.
    return images.map(lambda image: ee.Image(image).reproject(ee.Image(image).projection())).mosaic()


esa_worldcover = Modality(
    name="esa_worldcover",
    title="ESA WorldCover 2020 land cover",
    bands=(Band("Map"),),
    dtype="uint8",
    # No class has the code 0, and the published MMEarth files use 0 for nodata.
    nodata=0,
    categories=(
        Category(10, "tree cover", "#006400"),
        Category(20, "shrubland", "#ffbb22"),
        Category(30, "grassland", "#ffff4c"),
        Category(40, "cropland", "#f096ff"),
        Category(50, "built-up", "#fa0000"),
        Category(60, "bare or sparse vegetation", "#b4b4b4"),
        Category(70, "snow and ice", "#f0f0f0"),
        Category(80, "permanent water bodies", "#0064c8"),
        Category(90, "herbaceous wetland", "#0096a0"),
        Category(95, "mangroves", "#00cf75"),
        Category(100, "moss and lichen", "#fae6a0"),
    ),
    assets=(COLLECTION,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/ESA_WorldCover_v100",
    licence=_LICENCE,
    display=Display("classes", ("Map",)),
    source=static(_own_pixels, origins=[Origin(f"{COLLECTION}/2020", ("Map",))]),  # the collection's only image
)
