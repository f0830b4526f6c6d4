"""Between which values a layer is drawn where the description does not say: the middle 96 % of some of its files."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from exporters.files.bands import BandOfFile
from exporters.files.open_raster import opened
from exporters.files.pixel_window import PixelWindow

_LARGEST_PX = 256


def usual_range(bands: Iterable[BandOfFile], nodata: float | None) -> tuple[float, float]:
    """Physical values, darkest and lightest, of three digits; 0 and 1 where there are no data or they are all equal.

    `nodata` is a number in the files that is no datum, beside what they say.
    """
    values = np.concatenate([np.empty(0), *(_middle(band, nodata) for band in bands)])
    if not values.size:
        return 0.0, 1.0
    low, high = (float(f"{value:.3g}") for value in np.percentile(values, [2, 98]))
    return (low, high) if low < high else (0.0, 1.0)


def _middle(band: BandOfFile, nodata: float | None) -> NDArray[np.float64]:
    """The data in the middle of a file, (n,)."""
    height, width = band.header.shape_yx
    rows, columns = min(height, _LARGEST_PX), min(width, _LARGEST_PX)
    window = PixelWindow((width - columns) // 2, (height - rows) // 2, columns, rows)
    values = opened(band.header.path).physical([band.number], window, nodata)
    return values[np.isfinite(values)]
