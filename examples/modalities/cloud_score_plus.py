"""Cloud Score+ of the anchor scene: how usable each pixel is, 0 (not) to 1 (clear)."""

from datetime import timedelta

import ee

from geocorpus import Band, Chip, Display, Licence, Modality, Pixels, between, with_fallback

COLLECTION = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
BANDS = ["cs", "cs_cdf"]
_REACH = timedelta(days=1)


def _scores(chip: Chip) -> ee.Image:
    """The image of the anchor's sensing time and tile.

    Ids are those of level 1C; the middle part of a level 2A id may differ, so only its first and last are compared.
    """
    sensed, _, tile = chip.acquisition.anchor.asset_id.rpartition("/")[2].split("_")
    date = chip.acquisition.date
    same_scene = ee.Filter.And(
        ee.Filter.stringStartsWith("system:index", sensed), ee.Filter.stringEndsWith("system:index", tile)
    )
    result = between(chip, COLLECTION, date - _REACH, date + _REACH).filter(same_scene)
    return with_fallback(result.mosaic(), BANDS)


cloud_score_plus = Modality(
    name="cloud_score_plus",
    title="Cloud Score+ of the anchor scene",
    bands=(Band("cs", "1", "likeness to a clear observation"), Band("cs_cdf", "1", "rank among its own scores")),
    dtype="uint16",
    nodata=65535,
    scale=0.0001,
    valid_range=(0, 10000),
    time_rule="the anchor scene",
    assets=(COLLECTION,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/GOOGLE_CLOUD_SCORE_PLUS_V1_S2_HARMONIZED",
    licence=Licence(
        "CC-BY-4.0",
        "https://creativecommons.org/licenses/by/4.0/",
        "Cloud Score+ S2_HARMONIZED V1, produced by Google Earth Engine. Pasquarella et al. (2023).",
    ),
    display=Display("grey", ("cs",), 0.0, 1.0),
    source=Pixels(_scores),
)
