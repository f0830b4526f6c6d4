"""MODIS tree cover (MOD44B version 6.1): percent of the 250 m cell under each pixel, for the anchor's year."""

from __future__ import annotations

import ee

from exporters.expressions import between, unfinished, with_fallback, year_of
from exporters.sources import Pixels
from pipeline.chip import Chip
from pipeline.licence import Licence
from pipeline.modality import Band, Display, Modality

COLLECTION = "MODIS/061/MOD44B"
_BAND = "Percent_Tree_Cover"
# Above are the product's codes: 200 for water, 253 for fill.
_MOST_PERCENT = 100
_LICENCE = Licence(
    "public domain",
    "https://lpdaac.usgs.gov/data/data-citation-and-policies/",
    "MOD44B v061, NASA EOSDIS Land Processes DAAC. https://doi.org/10.5067/MODIS/MOD44B.061.",
)


def _of_the_year(chip: Chip) -> ee.ImageCollection:
    """An image is dated by the first day of its product year, in March."""
    return between(chip, COLLECTION, *year_of(chip)).select([_BAND])


def _cover(found: ee.ImageCollection) -> ee.Image:
    cover = with_fallback(found.mosaic(), [_BAND])
    return cover.updateMask(cover.lte(_MOST_PERCENT))


modis_tree_cover = Modality(
    name="modis_tree_cover",
    title="MODIS tree cover of the year (MOD44B)",
    bands=(Band("tree_cover", "percent", "of the 250 m cell"),),
    dtype="uint8",
    nodata=255,
    valid_range=(0, 100),
    time_rule="the product year that begins in March of the anchor's calendar year",
    assets=(COLLECTION,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/MODIS_061_MOD44B",
    licence=_LICENCE,
    display=Display("grey", ("tree_cover",), 0.0, 100.0),
    source=Pixels(
        _of_the_year,
        lambda chip: unfinished(year_of(chip)[1]),
        then=_cover,
        unchecked="its image is found by the date",
    ),
)
