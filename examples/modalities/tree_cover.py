"""MODIS tree cover in percent (MOD44B), of the 250 m cell under each pixel, for the anchor's year."""

from datetime import UTC, datetime

import ee

from geocorpus import Band, Chip, Display, Licence, Modality, Pixels, between, with_fallback

COLLECTION = "MODIS/061/MOD44B"
_BAND = "Percent_Tree_Cover"


def _of_the_year(chip: Chip) -> ee.Image:
    """An image is dated by its first day, in March; above 100 % are the product's codes for water and fill."""
    year = chip.acquisition.date.year
    result = between(chip, COLLECTION, datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC))
    cover = with_fallback(result.mosaic(), [_BAND])
    return cover.updateMask(cover.lte(100))


tree_cover = Modality(
    name="tree_cover",
    title="MODIS tree cover of the year",
    bands=(Band("tree_cover", "percent"),),
    dtype="uint8",
    nodata=255,
    valid_range=(0, 100),
    time_rule="the product year that begins in March of the anchor's calendar year",
    assets=(COLLECTION,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/MODIS_061_MOD44B",
    licence=Licence(
        "public domain",
        "https://lpdaac.usgs.gov/data/data-citation-and-policies/",
        "MOD44B v061, NASA EOSDIS Land Processes DAAC. https://doi.org/10.5067/MODIS/MOD44B.061",
    ),
    display=Display("grey", ("tree_cover",), 0.0, 100.0),
    source=Pixels(_of_the_year),
)
