"""ESA WorldCover 2020: 10 m land cover, eleven classes. Version 200 (2021) uses another method: do not mix them."""

from __future__ import annotations

import ee

from exporters.expressions import static
from pipeline.modality import Band, Category, Display, Modality

COLLECTION = "ESA/WorldCover/v100"

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
    display=Display("classes", ("Map",)),
    source=static(lambda: ee.ImageCollection(COLLECTION).select(["Map"]).mosaic()),
)
