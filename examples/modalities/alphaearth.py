"""AlphaEarth satellite embeddings of the anchor's year: 64 numbers a pixel, of unit length together."""

from datetime import UTC, datetime

import ee

from geocorpus import Band, Chip, Display, Licence, Modality, Pixels, between, with_fallback

COLLECTION = "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL"
BANDS = [f"A{n:02d}" for n in range(64)]


def _of_the_year(chip: Chip) -> ee.Image:
    """Tiles overlap and lie in several UTM zones; nearest, because a mean of two unit vectors is none."""
    year = chip.acquisition.date.year
    result = between(chip, COLLECTION, datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC))
    return with_fallback(result.mosaic(), BANDS)


alphaearth = Modality(
    name="alphaearth",
    title="AlphaEarth satellite embedding of the year",
    bands=tuple(Band(name, "1", "axis of the embedding") for name in BANDS),
    dtype="int16",
    nodata=-32768,
    scale=0.0001,
    valid_range=(-10000, 10000),
    time_rule="the anchor's calendar year; none before 2017",
    assets=(COLLECTION,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/GOOGLE_SATELLITE_EMBEDDING_V1_ANNUAL",
    licence=Licence(
        "CC-BY-4.0",
        "https://creativecommons.org/licenses/by/4.0/",
        "The AlphaEarth Foundations Satellite Embedding dataset is produced by Google and Google DeepMind.",
    ),
    display=Display("rgb", ("A01", "A16", "A09"), -0.3, 0.3),
    source=Pixels(_of_the_year),
)
