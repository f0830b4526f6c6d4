"""Time rules as small functions: which image of an asset belongs to a chip. Each returns a source or an image.

Dates are end-exclusive, as in Earth Engine. What is reduced over a window is nodata while the window is not over: a sum
of seven months would pass for the year's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import ee

from exporters.origin import Origin, Plain, as_stored
from exporters.sources import Loaded, Pixels, never, same
from pipeline.chip import Chip

Then = Callable[[ee.Image], ee.Image]
ORBIT_PASSES = ("ascending", "descending")
SEASONS = ("winter", "spring", "summer", "fall")
_MARGIN_M = 200.0


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


def unfinished(end: datetime) -> str | None:
    """Why a window up to `end` (exclusive) cannot be reduced yet; None where it is over."""
    return f"its window of time is not over before {end:%Y-%m-%d}" if end > datetime.now(UTC) else None


def where_complete(image: ee.Image, images: ee.ImageCollection, bands: Sequence[str], count: int) -> ee.Image:
    """`image`, reduced from `images`, with exactly `bands`; nodata where fewer than `count` of these have data.

    For regular images, such as months, which arrive late.
    """
    return with_fallback(image, bands).updateMask(with_fallback(images.count(), bands).gte(count))


def on_pixels_of(image: ee.Image, stored: ee.Image) -> ee.Image:
    """`image` with the projection of `stored`, from which it was computed: interpolation is then on these pixels.

    For what has to be computed before interpolation, such as a slope or a mask. `stored` is an image as it is loaded,
    with bands of one projection: arithmetic is not promised to keep it.
    """
    return image.setDefaultProjection(stored.projection())


def at_anchor(
    bands: Sequence[str],
    then: Then = same,
    absent: Callable[[Chip], str | None] = never,
    plain: Plain | None = None,
) -> Pixels:
    """Bands of the Sentinel-2 image that the chip is pinned to; `then` computes from them, already interpolated.

    `plain` is what `then` does, in NumPy and band by band: with it, the live check can compare the layer.
    """
    known = as_stored if plain is None and then is same else plain

    def origins(chip: Chip) -> Sequence[Origin]:
        return [Origin(chip.acquisition.anchor.asset_id, tuple(bands), plain=known)] if known else []

    return Pixels(
        lambda chip: ee.Image(chip.acquisition.anchor.asset_id),
        absent,
        then=lambda image: then(with_fallback(image, bands)),
        origins=origins,
    )


def per_orbit_pass(bands: Sequence[str], then: Then = same) -> Pixels:
    """Bands of the radar images that the chip is pinned to: of the ascending pass, then of the descending pass."""

    def origins(chip: Chip) -> Sequence[Origin]:
        return [_pass_origin(chip, orbit_pass, bands) for orbit_pass in ORBIT_PASSES] if then is same else []

    return Pixels(_both_passes, _no_pass, then=lambda *passes: then(_all_passes(passes, bands)), origins=origins)


def _pass_origin(chip: Chip, orbit_pass: str, bands: Sequence[str]) -> Origin:
    scene = getattr(chip.acquisition, orbit_pass)
    named = tuple(f"{band}_{orbit_pass}" for band in bands)
    return Origin(scene.asset_id if scene else None, tuple(bands), named)


def _both_passes(chip: Chip) -> tuple[Loaded, ...]:
    scenes = [getattr(chip.acquisition, orbit_pass) for orbit_pass in ORBIT_PASSES]
    return tuple(ee.Image(scene.asset_id) if scene else None for scene in scenes)


def _all_passes(passes: Sequence[Loaded], bands: Sequence[str]) -> ee.Image:
    named = zip(passes, ORBIT_PASSES, strict=True)
    return ee.Image.cat([_single_pass(image, orbit_pass, bands) for image, orbit_pass in named])


def _single_pass(image: Loaded, orbit_pass: str, bands: Sequence[str]) -> ee.Image:
    given = nothing(bands) if image is None else with_fallback(ee.Image(image), bands)
    return given.rename([f"{band}_{orbit_pass}" for band in bands])


def _no_pass(chip: Chip) -> str | None:
    if chip.acquisition.ascending or chip.acquisition.descending:
        return None
    return f"no ascending or descending scene in the window around {chip.acquisition.date:%Y-%m-%d}"


def around_anchor(
    collection: str, bands: Sequence[str], days: float, reduce: Callable[[ee.ImageCollection], ee.Image]
) -> Pixels:
    """`reduce` of a collection's images, each interpolated, up to `days` before and after the anchor; a reason while
    these days are not over.
    """
    reach = timedelta(days=days)

    def end(chip: Chip) -> datetime:
        return chip.acquisition.date + reach + timedelta(milliseconds=1)

    return Pixels(
        lambda chip: between(chip, collection, chip.acquisition.date - reach, end(chip)),
        lambda chip: unfinished(end(chip)),
        then=lambda found: with_fallback(reduce(found), bands),
    )


def mode_over_year(collection: str, band: str, then: Then = same) -> Pixels:
    """Each pixel's most frequent value in the calendar year (UTC) of the anchor; a reason while that is not over."""

    return Pixels(
        lambda chip: between(chip, collection, *year_of(chip)).select([band]),
        lambda chip: unfinished(year_of(chip)[1]),
        then=lambda found: then(with_fallback(found.mode(), [band])),
        unchecked="it is the mode of a year of images, each of which would be a request",
    )


def static(
    image: Callable[[], Loaded | tuple[Loaded, ...]],
    then: Callable[..., ee.Image] = same,
    origins: Sequence[Origin] = (),
) -> Pixels:
    """The same image for every chip, or several, and what `then` computes from them, already interpolated.

    `image` is called later, because a graph needs an initialised client.
    """
    return Pixels(lambda chip: image(), everywhere=True, then=then, origins=lambda chip: origins)


def tiles(chip: Chip, collection: str, bands: Sequence[str], each: Then = same) -> ee.Image:
    """Tiles of one lattice around the chip as one image that keeps their projection.

    `mosaic()` alone has a projection of one degree per pixel, in which slopes and interpolation would be computed. The
    margin gives both of them neighbours at the chip's edge. `each` makes tiles alike that are not, before they are
    joined. Without any tile the request raises `Missing`, which is recorded as the chip's reason.
    """
    around = footprint(chip).buffer(_MARGIN_M, _MARGIN_M / 10)
    found = ee.ImageCollection(collection).filterBounds(around)
    alike = found if each is same else found.map(each)
    return alike.select(list(bands)).mosaic().setDefaultProjection(ee.Image(found.first()).select([0]).projection())


def seasons(year: int) -> dict[str, tuple[datetime, datetime]]:
    """Meteorological seasons by their northern names: start and end (exclusive), UTC.

    Winter begins in the December before. Whole months, so that 29 February and the last day of a month are included.
    """
    start = datetime(year - 1, 12, 1, tzinfo=UTC)
    return {name: (month_start(start, 3 * n), month_start(start, 3 * n + 3)) for n, name in enumerate(SEASONS)}


def seasons_unfinished(chip: Chip) -> str | None:
    """Why the seasons of the anchor's year cannot be reduced yet; None where the last of them is over."""
    return unfinished(seasons(chip.acquisition.date.year)[SEASONS[-1]][1])


def year_of(chip: Chip) -> tuple[datetime, datetime]:
    """The calendar year of the anchor: its start and end (exclusive), UTC."""
    year = chip.acquisition.date.year
    return datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)


def between(chip: Chip, collection: str, start: datetime, end: datetime) -> ee.ImageCollection:
    """Images of a collection that intersect the chip, from `start` to `end` (exclusive); none before `end`."""
    if unfinished(end):
        return ee.ImageCollection([])
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
