"""ERA5-Land climate around the anchor: the month before, its own month, and the 12 months that end with it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

import ee

from exporters.expressions import month_start, span, where_complete, with_fallback
from exporters.origin import Origin
from exporters.sources import Region
from pipeline.chip import Chip
from pipeline.licence import YEARS, cc_by_4
from pipeline.modality import Band, Display, Modality

COLLECTION = "ECMWF/ERA5_LAND/MONTHLY_AGGR"
# Copernicus products of the Climate Data Store are under CC BY 4.0 since 2 July 2025; before, under a licence of their
# own, whose clauses 5.1.2 and 5.1.3 ask for these words.
_LICENCE = cc_by_4(
    "Muñoz Sabater, J. (2019): ERA5-Land. Copernicus Climate Change Service (C3S) Climate Data Store (CDS). "
    f"https://doi.org/10.24381/cds.e2161bac Contains modified Copernicus Climate Change Service information {YEARS}. "
    "Neither the European Commission nor ECMWF is responsible for any use that may be made of it."
)
_MEAN, _MIN, _MAX, _RAIN = (
    "temperature_2m", "temperature_2m_min", "temperature_2m_max", "total_precipitation_sum",
)  # fmt: skip
_SHORT = {_MEAN: "temperature_mean", _MIN: "temperature_min", _MAX: "temperature_max", _RAIN: "precipitation_sum"}
_UNITS = {_MEAN: "K", _MIN: "K", _MAX: "K", _RAIN: "m"}
# Months relative to the anchor's month: first (inclusive) and last (exclusive). The year has twelve.
WINDOWS = {"previous_month": (-1, 0), "current_month": (0, 1), "year": (-11, 1)}
# The native cell is 11 km wide; a mean over a 1.3 km footprint needs no finer sampling than this.
_SCALE_M = 100.0
# Months reach Earth Engine up to half a year late (nasaharvest/cropharvest#82, eWaterCycle/era5cli#164).
_LATE_MONTHS = 12


def _climate(chip: Chip) -> ee.Image:
    return _climate_of(month_start(chip.acquisition.date))


@lru_cache(maxsize=1024)
def _climate_of(month: datetime) -> ee.Image:
    """A global image, the same for all chips of a month, so that its graph is built once."""
    windows = {name: _months(month, *window) for name, window in WINDOWS.items()}
    # A month is a single image: it is its own mean, minimum, maximum and sum.
    parts = {name: _year(images) if name == "year" else images.mean() for name, images in windows.items()}
    return ee.Image.cat([with_fallback(image, list(_SHORT)).rename(_names(name)) for name, image in parts.items()])


def _months(month: datetime, first: int, last: int) -> ee.ImageCollection:
    return ee.ImageCollection(COLLECTION).filterDate(*span(month_start(month, first), month_start(month, last)))


def _year(months: ee.ImageCollection) -> ee.Image:
    """Nodata until all twelve months are there: they reach Earth Engine months late."""
    image = ee.Image.cat([
        months.select([_MEAN]).mean(), months.select([_MIN]).min(),
        months.select([_MAX]).max(), months.select([_RAIN]).sum(),
    ])  # fmt: skip
    return where_complete(image, months, list(_SHORT), -WINDOWS["year"][0] + WINDOWS["year"][1])


def _why_masked(chip: Chip) -> str:
    months_old = (datetime.now(UTC) - chip.acquisition.date).days / 30
    late = f"; or the months up to {chip.acquisition.date:%Y-%m} have not come yet" if months_old < _LATE_MONTHS else ""
    return f"all values are masked: no land here{late}"


def _single_months(chip: Chip) -> list[Origin]:
    """The two windows of one month: an image that is its own mean, minimum, maximum and sum."""
    month = month_start(chip.acquisition.date)
    starts = {name: month_start(month, first) for name, (first, last) in WINDOWS.items() if last - first == 1}
    return [Origin(f"{COLLECTION}/{start:%Y%m}", tuple(_SHORT), tuple(_names(name))) for name, start in starts.items()]


def _names(window: str) -> list[str]:
    return [f"{window}_{name}" for name in _SHORT.values()]


era5 = Modality(
    name="era5",
    title="ERA5-Land temperature and precipitation of the month before, the month and the year of the anchor",
    bands=tuple(
        Band(name, units) for window in WINDOWS for name, units in zip(_names(window), _UNITS.values(), strict=True)
    ),
    dtype="float32",
    nodata=float("nan"),
    extent="image",
    time_rule="calendar months before and of the anchor; the year is the 12 months that end with the anchor's",
    assets=(COLLECTION,),
    reference="https://developers.google.com/earth-engine/datasets/catalog/ECMWF_ERA5_LAND_MONTHLY_AGGR",
    licence=_LICENCE,
    display=Display("none"),
    source=Region(
        _climate,
        _SCALE_M,
        why_masked=_why_masked,
        origins=_single_months,
        unchecked="the year is of twelve images, a request each",
    ),  # fmt: skip
)
