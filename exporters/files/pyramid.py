"""A raster that is much finer than the grid: means of 2, 4, 8, ... pixels, as Earth Engine keeps of every image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from exporters.files.pixel_window import PixelWindow

Values = NDArray[np.float64]
Positions = NDArray[np.float64]
Read = Callable[[PixelWindow], Values]


def level_of(columns: Positions, rows: Positions) -> int:
    """How often the pixels are to be halved in number: the coarsest level whose pixels are no larger than the grid's.

    `columns` and `rows` (y, x) are the positions of the grid's pixels among those of the raster.
    """
    steps = min(_step(columns), _step(rows))
    return max(0, math.floor(math.log2(steps) + 1e-9)) if math.isfinite(steps) and steps > 0 else 0


def _step(positions: Positions) -> float:
    """How far neighbours of the grid are apart along one axis of the raster, in its pixels."""
    apart = [_typical(np.diff(positions, axis=axis)) for axis in (0, 1) if positions.shape[axis] > 1]
    return math.hypot(*apart) if apart else math.nan


def _typical(steps: Positions) -> float:
    """Their median, which a jump (the antimeridian in a projection) does not move."""
    finite = steps[np.isfinite(steps)]
    return float(np.median(np.abs(finite))) if finite.size else math.nan


def reduced(read: Read, level: int, most_pixels: int) -> Read:
    """A reader of windows of the level: means of 2^level by 2^level pixels that have data, NaN where none has.

    It reads at most `most_pixels` at once, or one row of the level where that is more.
    """
    size = 2**level

    def read_level(window: PixelWindow) -> Values:
        rows = max(1, most_pixels // (window.width * size * size))
        strips = [
            _means(read(PixelWindow(window.column * size, row * size, window.width * size, count * size)), size)
            for row, count in _strips(window, rows)
        ]
        return np.concatenate(strips, axis=1)

    return read_level


def _strips(window: PixelWindow, rows: int) -> list[tuple[int, int]]:
    """First row and number of rows of parts of a window."""
    stop = window.row + window.height
    return [(row, min(rows, stop - row)) for row in range(window.row, stop, rows)]


def _means(values: Values, size: int) -> Values:
    bands, height, width = values.shape
    blocks = values.reshape(bands, height // size, size, width // size, size)
    known = ~np.isnan(blocks)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, blocks, 0.0).sum(axis=(2, 4)) / known.sum(axis=(2, 4)))
