"""Sentinel-1 coherence of the global seasonal data set (GSSIC): medians per season, VV, 12 to 48 days apart."""

from __future__ import annotations

import ee

from exporters.expressions import SEASONS, tiles, with_fallback
from exporters.sources import Pixels
from pipeline.chip import Chip
from pipeline.licence import cc_by_4
from pipeline.modality import Band, Display, Modality

COLLECTION = "Earth_Big_Data/GLOBAL_SEASONAL_S1/V2019/COHERENCE"
# Between the two acquisitions. 6 and 18 days are there only where both satellites flew.
DAYS = (12, 24, 36, 48)
BANDS = tuple(f"{season}_vv_COH{days:02d}" for season in SEASONS for days in DAYS)
_LICENCE = cc_by_4(
    "Kellndorfer, J. et al. (2022): Global seasonal Sentinel-1 interferometric coherence and backscatter data set. "
    "Scientific Data 9, 73. https://doi.org/10.1038/s41597-022-01189-6."
)


def _known(tile: ee.Image) -> ee.Image:
    """All bands, whichever the tile has (another polarisation, fewer intervals): 0 is no data, nor to be mixed in."""
    bands = with_fallback(tile, BANDS)
    return bands.updateMask(bands.gt(0))


def _coherence(chip: Chip) -> ee.Image:
    return tiles(chip, COLLECTION, BANDS, each=_known)


gssic_coherence = Modality(
    name="gssic_coherence",
    title="Sentinel-1 seasonal coherence (GSSIC), VV, 12 to 48 days apart",
    bands=tuple(Band(name, "1", "median coherence of the season") for name in BANDS),
    dtype="uint8",
    nodata=0,
    scale=0.01,
    resampling="bilinear",
    valid_range=(1, 100),
    time_rule="seasons of December 2019 to November 2020, whatever the anchor",
    assets=(COLLECTION,),
    reference="https://doi.org/10.1038/s41597-022-01189-6",
    licence=_LICENCE,
    display=Display("grey", ("summer_vv_COH12",), 0.0, 1.0),
    source=Pixels(_coherence, unchecked="it is of tiles that are found by the place"),
)
