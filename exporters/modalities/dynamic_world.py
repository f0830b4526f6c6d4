"""Dynamic World: each pixel's most frequent land cover over the calendar year of the anchor."""

from __future__ import annotations

import ee

from exporters.expressions import mode_over_year
from pipeline.licence import cc_by_4
from pipeline.modality import Band, Category, Display, Modality

COLLECTION = "GOOGLE/DYNAMICWORLD/V1"
# The words that the catalogue's page asks for.
_LICENCE = cc_by_4(
    "This dataset is produced for the Dynamic World Project by Google in partnership with National Geographic Society "
    "and the World Resources Institute."
)


def _codes(image: ee.Image) -> ee.Image:
    """Labels start at 0 for water; stored codes start at 1, so that 0 can mean nodata."""
    return image.add(1)


dynamic_world = Modality(
    name="dynamic_world",
    title="Dynamic World land cover, mode over the year",
    bands=(Band("label"),),
    dtype="uint8",
    nodata=0,
    categories=(
        Category(1, "water", "#419bdf"),
        Category(2, "trees", "#397d49"),
        Category(3, "grass", "#88b053"),
        Category(4, "flooded vegetation", "#7a87c6"),
        Category(5, "crops", "#e49635"),
        Category(6, "shrub and scrub", "#dfc35a"),
        Category(7, "built", "#c4281b"),
        Category(8, "bare", "#a59b8f"),
        Category(9, "snow and ice", "#b39fe1"),
    ),
    time_rule="mode over the anchor's calendar year",
    assets=(COLLECTION,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/GOOGLE_DYNAMICWORLD_V1",
    licence=_LICENCE,
    display=Display("classes", ("label",)),
    source=mode_over_year(COLLECTION, "label", _codes),
)
