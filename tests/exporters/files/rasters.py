"""Small GeoTIFFs for tests, and a plain second way of reading them onto a grid: a loop over pixels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from pyproj import Transformer

from pipeline.grid import Grid


def write(path: Path, values: np.ndarray, transform: Affine, crs: Any = "EPSG:32631", **more: Any) -> str:
    """A GeoTIFF of `values` (bands, y, x); `more` are rasterio's keywords. Returns its path."""
    bands, height, width = values.shape
    profile = {"driver": "GTiff", "count": bands, "height": height, "width": width, "dtype": values.dtype, **more}
    with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as file:
        file.write(values)
    return str(path)


def plainly(values: np.ndarray, transform: Affine, crs: Any, grid: Grid, resampling: str) -> np.ndarray:
    """`values` (bands, y, x), NaN for none, on the grid: one pixel after the other, with Python's numbers."""
    height, width = grid.shape_yx
    result = np.full((len(values), height, width), np.nan)
    there = Transformer.from_crs(grid.crs, crs, always_xy=True)
    for row in range(height):
        for column in range(width):
            x = grid.origin_xy[0] + (column + 0.5) * grid.resolution_m
            y = grid.origin_xy[1] - (row + 0.5) * grid.resolution_m
            at = ~transform * there.transform(x, y)
            for band, pixels in enumerate(values):
                result[band, row, column] = PLAIN[resampling](pixels, *at)
    return result


def _pixel(pixels: np.ndarray, column: int, row: int) -> float:
    inside = 0 <= row < pixels.shape[0] and 0 <= column < pixels.shape[1]
    return float(pixels[row, column]) if inside else math.nan


def _nearest(pixels: np.ndarray, column: float, row: float) -> float:
    return _pixel(pixels, math.floor(column + 1e-7), math.floor(row + 1e-7))


def _bilinear(pixels: np.ndarray, column: float, row: float) -> float:
    if not (-1e-7 <= row < pixels.shape[0] - 1e-7 and -1e-7 <= column < pixels.shape[1] - 1e-7):
        return math.nan
    total = weights = 0.0
    for down in (0, 1):
        for right in (0, 1):
            at_column, at_row = math.floor(column - 0.5) + right, math.floor(row - 0.5) + down
            weight = max(0.0, 1 - abs(column - 0.5 - at_column)) * max(0.0, 1 - abs(row - 0.5 - at_row))
            value = _pixel(pixels, at_column, at_row)
            if weight > 1e-6 and not math.isnan(value):
                total, weights = total + weight * value, weights + weight
    return total / weights if weights else math.nan


PLAIN = {"nearest": _nearest, "bilinear": _bilinear}
