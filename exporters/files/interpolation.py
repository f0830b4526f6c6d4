"""Pixels at fractional positions: the one that contains a position, or the mean of the four around it by distance.

GDAL's warp is not used: it averages nodata into bilinear values of several bands, and blurs rotated sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Positions = NDArray[np.float64]
Tap = tuple[NDArray[np.intp], NDArray[np.float64]]  # an index of a pixel and its weight, for each position


def nearest(values: Values, columns: Positions, rows: Positions) -> Values:
    """The pixel that contains each position, (bands, y, x); a position on an edge belongs to the pixel after it.

    `values` are (bands, height, width), NaN for no data. `columns` and `rows` are (y, x) from the outer corner of the
    first pixel; what lies outside `values` is NaN.
    """
    inside = _inside(values, columns, rows)
    width = values.shape[2]
    index = _whole(rows, inside) * width + _whole(columns, inside)
    result = values.reshape(len(values), -1).take(index, axis=1)
    result[:, ~inside] = np.nan
    return result


def bilinear(values: Values, columns: Positions, rows: Positions) -> Values:
    """The mean of the four pixel centres around each position, weighted by distance; else as `nearest`.

    Pixels without data count for nothing: the others share their weight. A value is NaN where none of those with a
    weight has data.
    """
    inside = _inside(values, columns, rows)
    taps = list(_taps(values.shape[1:], np.where(inside, columns, 0.5), np.where(inside, rows, 0.5)))
    flat = values.reshape(len(values), -1)
    result = np.zeros((len(values), *columns.shape))
    for index, share in taps:
        result += flat.take(index, axis=1) * share
    holes = np.isnan(result).any(axis=0)
    if holes.any():
        result[:, holes] = _partly_known(flat, [(index[holes], share[holes]) for index, share in taps])
    result[:, ~inside] = np.nan
    return result


def _partly_known(flat: Values, taps: Sequence[Tap]) -> Values:
    """The means of those of the pixels that have data, (bands, positions); `flat` are (bands, pixels)."""
    total, weight = np.zeros((len(flat), len(taps[0][0]))), np.zeros((len(flat), len(taps[0][0])))
    for index, share in taps:
        pixels = flat.take(index, axis=1)
        counted = ~np.isnan(pixels) * share
        total += np.where(counted > 0, pixels, 0.0) * counted
        weight += counted
    with np.errstate(invalid="ignore"):
        return total / weight


def _taps(shape_yx: tuple[int, ...], columns: Positions, rows: Positions) -> Iterator[Tap]:
    """Index among all pixels, and weight, of the four around each position; those outside have no weight."""
    height, width = shape_yx
    for row, down in _pair(rows, height):
        for column, across in _pair(columns, width):
            yield row * width + column, down * across


def _pair(positions: Positions, count: int) -> Iterator[Tap]:
    """The two pixels along one axis whose centres a position lies between, each with its weight.

    In the half pixel at either end there is one, and it has all of it.
    """
    from_centres = np.clip(positions - 0.5, 0, count - 1)
    first = np.minimum(np.floor(from_centres).astype(np.intp), max(count - 2, 0))
    fraction = from_centres - first
    yield first, 1.0 - fraction
    yield np.minimum(first + 1, count - 1), fraction


def _inside(values: Values, columns: Positions, rows: Positions) -> NDArray[np.bool_]:
    _, height, width = values.shape
    return (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)


def _whole(positions: Positions, inside: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.floor(np.where(inside, positions, 0.0)).astype(np.intp)
