"""Sentinel-1 coherence, median per season of December 2019 to November 2020 (Kellndorfer et al. 2022)."""

import ee

from geocorpus import SEASONS, Band, Chip, Display, Licence, Modality, Pixels, on_pixels_of, tiles, with_fallback

COLLECTION = "Earth_Big_Data/GLOBAL_SEASONAL_S1/V2019/COHERENCE"
DAYS = (12, 48)  # between the two acquisitions; 6 days only where both satellites looked
BANDS = [f"{season}_vv_COH{days}" for season in SEASONS for days in DAYS]


def _coherence(chip: Chip) -> ee.Image:
    """0 is the collection's nodata; a tile lacks the repeat intervals that were not flown."""
    stored = tiles(chip, COLLECTION, [".*_vv_.*"])
    coherence = with_fallback(stored, BANDS)
    return on_pixels_of(coherence.updateMask(coherence.gt(0)), stored)


sentinel1_coherence = Modality(
    name="sentinel1_coherence",
    title="Sentinel-1 seasonal coherence, VV, 12 and 48 days apart",
    bands=tuple(Band(name, "1", "median coherence of the season") for name in BANDS),
    dtype="uint8",
    nodata=255,
    scale=0.01,
    resampling="bilinear",
    valid_range=(0, 100),
    time_rule="seasons of December 2019 to November 2020, whatever the anchor",
    assets=(COLLECTION,),
    reference="https://doi.org/10.1038/s41597-022-01189-6",
    licence=Licence(
        "CC-BY-4.0",
        "https://creativecommons.org/licenses/by/4.0/",
        "Kellndorfer, J. et al. (2022): Global seasonal Sentinel-1 interferometric coherence and backscatter data set. "
        "Scientific Data 9, 73. https://doi.org/10.1038/s41597-022-01189-6",
    ),
    display=Display("grey", ("summer_vv_COH12",), 0.0, 0.75),
    source=Pixels(_coherence),
)
