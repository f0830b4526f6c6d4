"""GHSL built-up surface (P2023A): percent of the 100 m cell under each pixel, at the epoch nearest to the anchor."""

from __future__ import annotations

from collections.abc import Sequence

import ee

from exporters.expressions import with_fallback
from exporters.origin import Origin, scaled
from exporters.sources import Pixels
from pipeline.chip import Chip
from pipeline.licence import cc_by_4
from pipeline.modality import Band, Display, Modality

COLLECTION = "JRC/GHSL/P2023A/GHS_BUILT_S"
_BAND = "built_surface"
_EPOCH_YEARS, _FIRST, _LAST = 5, 1975, 2030
# The product counts square metres in cells of 100 m of an equal-area projection: 10,000 of them are 100 percent.
PERCENT_PER_M2 = 0.01
_LICENCE = cc_by_4(
    "Pesaresi, M., Politis, P. (2023): GHS-BUILT-S R2023A. European Commission, Joint Research Centre (JRC). "
    "https://doi.org/10.2905/9F06F36F-4B11-47EC-ABB0-4F8B7B1D72EA."
)


def epoch_of(year: int) -> int:
    """The nearest of the product's epochs."""
    return min(max(_EPOCH_YEARS * round(year / _EPOCH_YEARS), _FIRST), _LAST)


def _asset(chip: Chip) -> str:
    return f"{COLLECTION}/{epoch_of(chip.acquisition.date.year)}"


def _percent(image: ee.Image) -> ee.Image:
    return with_fallback(image, [_BAND]).multiply(PERCENT_PER_M2)


def _origins(chip: Chip) -> Sequence[Origin]:
    return [Origin(_asset(chip), (_BAND,), plain=scaled(PERCENT_PER_M2))]


ghsl_built_up = Modality(
    name="ghsl_built_up",
    title="GHSL built-up surface",
    bands=(Band("built_up", "percent", "built-up part of the 100 m cell"),),
    dtype="uint16",
    nodata=65535,
    scale=PERCENT_PER_M2,
    valid_range=(0, 10000),
    time_rule="the epoch (every five years) nearest to the anchor's year",
    assets=(COLLECTION,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/JRC_GHSL_P2023A_GHS_BUILT_S",
    licence=_LICENCE,
    display=Display("grey", ("built_up",), 0.0, 100.0),
    source=Pixels(lambda chip: ee.Image(_asset(chip)), then=_percent, origins=_origins),
)
