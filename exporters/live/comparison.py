"""One band of a layer as it was pulled, against stored pixels that are interpolated here.

Two things may differ with no fault of anybody. A position: a service need not transform every pixel exactly, so a value
may be that of any position within `POSITION_PX` of a stored pixel around. And rounding: one step of what is stored.
`getPixels` gives 0 where a band is masked, so that a 0 may be a datum or none: either reading is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporters.files import interpolation
from exporters.origin import Values
from pipeline.encoding import encoded
from pipeline.modality import Modality

POSITION_PX = 0.1  # of the stored pixels; a shift by half a pixel is five times as much
MOST_OUTSIDE = 0.01  # of a band's pixels: seams of tiles, and borders of masks
_SHIFT_PX = 0.5
_REAL_STEP = 1e-6  # of the largest value, where real numbers are stored: some eight steps of float32
_AROUND = ((0.0, 0.0), *((x, y) for x in (-POSITION_PX, POSITION_PX) for y in (-POSITION_PX, POSITION_PX)))
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Native:
    """Physical values of a band on its own pixels, (1, y, x): with a 0 as datum, and with a 0 as none."""

    zero_is_data: Values
    zero_is_none: Values
    columns: Values
    rows: Values


@dataclass(frozen=True)
class BandComparison:
    """A band, (y, x) physical each with NaN for none, and which pixels are within the tolerance (`tolerance`, units).

    `shift_shows` says whether a shift by half a stored pixel would be seen in this chip; an even band shows none.
    """

    name: str
    ours: Values
    theirs: Values
    within: Mask
    tolerance: float
    shift_shows: bool = True

    @property
    def differs(self) -> bool:
        """Whether more pixels are outside the tolerance than chance would have it."""
        return float((~self.within).mean()) > MOST_OUTSIDE

    @property
    def equal(self) -> Mask:
        """Pixels with the same stored value, up to the last digits of a real number, or with none in both."""
        return np.isclose(self.ours, self.theirs, rtol=_REAL_STEP, atol=0.0, equal_nan=True)

    @property
    def equal_share(self) -> float:
        """The share of equal pixels."""
        return float(self.equal.mean())

    @property
    def differences(self) -> Values:
        """Absolute differences where both have data, (n,)."""
        gaps = np.abs(self.ours - self.theirs)
        known: Values = gaps[np.isfinite(gaps)]
        return known


def compare(layer: Modality, name: str, ours: Values, native: Native, tolerance: float) -> BandComparison:
    """`ours` (y, x), physical, against what the stored pixels give."""
    data, none = (_around(layer, values, native) for values in (native.zero_is_data, native.zero_is_none))
    tolerance += _step(layer, data)
    within = _accepted(layer, ours, data, tolerance) | _accepted(layer, ours, none, tolerance)
    within |= np.isnan(ours) & _beside_none(native)
    theirs = _nearer(ours, data[0], none[0])
    shifted = _at(layer, native.zero_is_data, native.columns + _SHIFT_PX, native.rows + _SHIFT_PX)
    shows = float((~_accepted(layer, shifted, data, tolerance)).mean()) > MOST_OUTSIDE
    return BandComparison(name, ours, theirs, within, tolerance, shows)


def _nearer(ours: Values, data: Values, none: Values) -> Values:
    """The reading of zeros that is nearer to `ours`, pixel by pixel; no data where that is so in both."""
    agree = np.isnan(ours) & np.isnan(none)
    nearer = np.abs(none - ours) < np.abs(data - ours)
    return np.where(agree | nearer, none, data)


def compare_mean(layer: Modality, name: str, ours: float, native: Native, tolerance: float) -> BandComparison:
    """A mean over the chip, against that of the stored pixels under the chip's."""
    pixels = interpolation.nearest(native.zero_is_data, native.columns, native.rows)
    known = pixels[np.isfinite(pixels)]
    mean = float(known.mean()) if known.size else np.nan
    spread = float(np.ptp(known)) if known.size else 0.0
    allowed = tolerance * spread + _step(layer, pixels)
    result = np.array([[ours]]), np.array([[mean]])
    within = np.isclose(*result, rtol=0.0, atol=allowed, equal_nan=True)
    return BandComparison(name, *result, within, allowed, shift_shows=spread > 0)


def absent(name: str, ours: Values) -> BandComparison:
    """A band that no stored image has, which must be without data everywhere."""
    return BandComparison(name, ours, np.full(ours.shape, np.nan), np.isnan(ours), 0.0)


def _step(layer: Modality, values: Values) -> float:
    if layer.categories:
        return 0.0
    if np.dtype(layer.dtype).kind in "iu":
        return abs(layer.scale) * (1 + _REAL_STEP)
    known = np.abs(values[np.isfinite(values)])
    return _REAL_STEP * float(known.max()) if known.size else 0.0


def _around(layer: Modality, values: Values, native: Native) -> Values:
    """What the layer would store, exactly there and a little beside, (positions, y, x)."""
    return np.stack([_at(layer, values, native.columns + x, native.rows + y) for x, y in _AROUND])


def _at(layer: Modality, values: Values, columns: Values, rows: Values) -> Values:
    """Physical values after rounding as stored, (y, x)."""
    sample = interpolation.bilinear if layer.resampling == "bilinear" else interpolation.nearest
    return layer.physical(encoded(layer, sample(values, columns, rows)[0]))


def _accepted(layer: Modality, ours: Values, near: Values, tolerance: float) -> Mask:
    """Pixels that may be what is stored: one of the values around, or between them where these are interpolated."""
    none = np.isnan(ours) & np.isnan(near).any(axis=0)
    if layer.resampling == "nearest":
        return none | (np.abs(near - ours) <= tolerance).any(axis=0)
    low = np.where(np.isnan(near), np.inf, near).min(axis=0) - tolerance
    high = np.where(np.isnan(near), -np.inf, near).max(axis=0) + tolerance
    return none | ((ours >= low) & (ours <= high))


def _beside_none(native: Native) -> Mask:
    """Pixels whose interpolation would touch one without data: how a service weighs these is its own affair."""
    holes = np.isnan(native.zero_is_none).astype(np.float64)
    return np.asarray(interpolation.bilinear(holes, native.columns, native.rows)[0] > 0)
