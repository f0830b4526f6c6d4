"""Where the bands of a layer come from: what a check against the service reads, and computes by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.chip import Chip

Values = NDArray[np.float64]  # (bands, y, x), NaN for no data


@dataclass(frozen=True)
class PixelSize:
    """The metres of a pixel on the ground: `width_m` for each row, (y, 1), and `height_m`."""

    width_m: NDArray[np.float64]
    height_m: float


Plain = Callable[[Values, PixelSize], Values]


def as_stored(values: Values, size: PixelSize) -> Values:
    """The default of `plain`: stored numbers are physical values."""
    return values


@dataclass(frozen=True)
class Origin:
    """Bands of a layer as one stored image has them.

    `stored` are names or positions of its bands; `plain` makes physical values of them in NumPy, on their own pixels
    and before interpolation, one band per band in `bands` (empty: all of the layer's, in order). `asset_id` None says
    that no image has these bands for this chip. `tolerance`, in the bands' units, is what the two may differ by beyond
    rounding and interpolation.
    """

    asset_id: str | None
    stored: tuple[str | int, ...]
    bands: tuple[str, ...] = ()
    plain: Plain = as_stored
    tolerance: float = 0.0


Origins = Callable[[Chip], Sequence[Origin]]


def unknown(chip: Chip) -> Sequence[Origin]:
    """The default of `origins`: the layer's file does not say them."""
    return ()


def scaled(factor: float) -> Plain:
    """Stored numbers times `factor`."""

    def plain(values: Values, size: PixelSize) -> Values:
        return values * factor

    return plain


def without(number: float) -> Plain:
    """Stored numbers, of which one means that there is no data."""

    def plain(values: Values, size: PixelSize) -> Values:
        return np.where(values == number, np.nan, values)

    return plain
