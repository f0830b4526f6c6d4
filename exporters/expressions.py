"""Time rules as small functions: which image of an asset belongs to a chip. Each returns a source or an image.

Dates are end-exclusive, as in Earth Engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import ee

from exporters.sources import Pixels, never
from pipeline.chip import Chip

Then = Callable[[ee.Image], ee.Image]
ORBIT_PASSES = ("ascending", "descending")
SEASONS = ("winter", "spring", "summer", "fall")
_MARGIN_M = 200.0


def same(image: ee.Image) -> ee.Image:
    """`image` unchanged: the default of `then`."""
    return image


def with_fallback(image: ee.Image, bands: Sequence[str]) -> ee.Image:
    """`image` with exactly `bands`, in that order; bands that it does not have are masked everywhere.

    Makes no request. An image without the band, or without any band (`mode()` of no images), becomes nodata, where
    `select` would be an error.
    """
    return nothing(bands).addBands(image, None, True).select(list(bands))


def nothing(bands: Sequence[str]) -> ee.Image:
    """An image with these bands and no data."""
    return ee.Image.constant([0] * len(bands)).rename(list(bands)).updateMask(ee.Image.constant(0))


def footprint(chip: Chip) -> ee.Geometry:
    """The chip's outline as a polygon in lon/lat degrees."""
    corners = list(chip.grid.footprint().exterior.coords)
    return ee.Geometry.Polygon([[list(corner) for corner in corners]])


def at_anchor(bands: Sequence[str], then: Then = same, absent: Callable[[Chip], str | None] = never) -> Pixels:
    """Bands of the Sentinel-2 image that the chip is pinned to."""

    def image(chip: Chip) -> ee.Image:
        return then(with_fallback(ee.Image(chip.acquisition.anchor.asset_id), bands))

    return Pixels(image, absent)


def per_orbit_pass(bands: Sequence[str], then: Then = same) -> Pixels:
    """Bands of the radar images that the chip is pinned to: of the ascending pass, then of the descending pass."""
    return Pixels(lambda chip: then(_all_passes(chip, bands)), _no_pass)


def _all_passes(chip: Chip, bands: Sequence[str]) -> ee.Image:
    return ee.Image.cat([_single_pass(chip, orbit_pass, bands) for orbit_pass in ORBIT_PASSES])


def _single_pass(chip: Chip, orbit_pass: str, bands: Sequence[str]) -> ee.Image:
    scene = getattr(chip.acquisition, orbit_pass)
    image = with_fallback(ee.Image(scene.asset_id), bands) if scene else nothing(bands)
    return image.rename([f"{band}_{orbit_pass}" for band in bands])


def _no_pass(chip: Chip) -> str | None:
    if chip.acquisition.ascending or chip.acquisition.descending:
        return None
    return f"no ascending or descending scene in the window around {chip.acquisition.date:%Y-%m-%d}"


def around_anchor(
    collection: str, bands: Sequence[str], days: float, reduce: Callable[[ee.ImageCollection], ee.Image]
) -> Pixels:
    """`reduce` of a collection's images up to `days` before and after the anchor."""

    def image(chip: Chip) -> ee.Image:
        reach = timedelta(days=days)
        date = chip.acquisition.date
        result = between(chip, collection, date - reach, date + reach + timedelta(milliseconds=1))
        return with_fallback(reduce(result), bands)

    return Pixels(image)


def mode_over_year(collection: str, band: str, then: Then = same) -> Pixels:
    """Each pixel's most frequent value in the calendar year (UTC) of the anchor."""

    def image(chip: Chip) -> ee.Image:
        year = chip.acquisition.date.year
        result = between(chip, collection, datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC))
        return then(with_fallback(result.select([band]).mode(), [band]))

    return Pixels(image)


def static(image: Callable[[], ee.Image]) -> Pixels:
    """The same image for every chip. `image` is called later, because a graph needs an initialised client."""
    return Pixels(lambda chip: image(), everywhere=True)


def tiles(chip: Chip, collection: str, bands: Sequence[str]) -> ee.Image:
    """Tiles of one lattice around the chip as one image that keeps their projection.

    `mosaic()` alone has a projection of one degree per pixel, in which slopes and interpolation would be computed. The
    margin gives both of them neighbours at the chip's edge. Without any tile the request raises `Missing`, which is
    recorded as the chip's reason.
    """
    around = footprint(chip).buffer(_MARGIN_M, _MARGIN_M / 10)
    result = ee.ImageCollection(collection).filterBounds(around).select(list(bands))
    return result.mosaic().setDefaultProjection(ee.Image(result.first()).projection())


def seasons(year: int) -> dict[str, tuple[datetime, datetime]]:
    """Meteorological seasons by their northern names: start and end (exclusive), UTC.

    Winter begins in the December before. Whole months, so that 29 February and the last day of a month are included.
    """
    start = datetime(year - 1, 12, 1, tzinfo=UTC)
    return {name: (month_start(start, 3 * n), month_start(start, 3 * n + 3)) for n, name in enumerate(SEASONS)}


def between(chip: Chip, collection: str, start: datetime, end: datetime) -> ee.ImageCollection:
    """Images of a collection that intersect the chip, from `start` to `end` (exclusive)."""
    return ee.ImageCollection(collection).filterBounds(footprint(chip)).filterDate(*span(start, end))


def span(start: datetime, end: datetime) -> tuple[int, int]:
    """`start` and `end` (exclusive) for `filterDate`: milliseconds since 1970."""
    return _milliseconds(start), _milliseconds(end)


def month_start(date: datetime, months_later: int = 0) -> datetime:
    """Midnight (UTC) of the first day of the month of `date`, or of `months_later` months after it."""
    index = date.year * 12 + date.month - 1 + months_later
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
