"""Slope, aspect and hillshade of an elevation image, computed on the pixels of its default projection.

The gradient is that of the 4-connected neighbours, (east - west) and (north - south) over two pixels, in metres even
if the unit of the projection is degrees; a pixel with a masked neighbour is masked (Terrain.slope's documentation).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.errors import EarthEngineError
from sandbox.functions.image_bands import add_bands
from sandbox.functions.image_math import derived
from sandbox.functions.images import Image, ImageBand, resampled
from sandbox.functions.scope import Scope
from sandbox.raster import grids
from sandbox.raster.grids import PixelGrid
from sandbox.raster.resample import Pixels
from sandbox.raster.stored import Window
from sandbox.registry import algorithm

Array = NDArray[np.float64]
_FLOAT32 = np.dtype(np.float32)


def _pixel_size_m(grid: PixelGrid) -> tuple[Array, Array]:
    """A pixel's width and height in metres per row, (height, 1) each; for degrees on a sphere."""
    x_scale, x_shear, _, y_shear, y_scale, _ = grid.transform
    width, height = np.hypot(x_scale, y_shear), np.hypot(x_shear, y_scale)
    ones = np.ones((grid.height, 1))
    if not grids.geographic(grid.crs):
        return width * ones, height * ones
    _, lat = grids.apply(grid.transform, grid.width / 2, np.arange(grid.height)[:, None] + 0.5)
    shrink = np.maximum(np.cos(np.radians(lat)), 1e-9)
    return width * grids.METERS_PER_DEGREE * shrink, height * grids.METERS_PER_DEGREE * ones


def _gradient(values: Array, grid: PixelGrid) -> tuple[Array, Array]:
    """The rise per metre to the east and to the north; `values` has one more pixel on each side than `grid`."""
    width, height = _pixel_size_m(grid)
    east = (values[1:-1, 2:] - values[1:-1, :-2]) / (2 * width) * np.sign(grid.transform[0])
    north = (values[:-2, 1:-1] - values[2:, 1:-1]) / (2 * height) * -np.sign(grid.transform[4])
    return east, north


def _surrounded(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    inner = valid[1:-1, 1:-1]
    return np.asarray(inner & valid[1:-1, 2:] & valid[1:-1, :-2] & valid[:-2, 1:-1] & valid[2:, 1:-1])


def _terrain_band(dem: Image, name: str, measure: Callable[[Array, Array], Array]) -> ImageBand:
    if not dem.bands:
        raise EarthEngineError(f"Terrain.{name}: The image has no bands.")
    elevation = dem.bands[0]
    native = elevation.projection

    def on_native(grid: PixelGrid, scope: Scope) -> Pixels:
        window = grids.window_on(native, grid)
        if window is None:
            raise EarthEngineError("Internal error: terrain was asked for pixels off its lattice.", 500)
        wider = Window(window.column - 1, window.row - 1, window.width + 2, window.height + 2)
        values, valid = elevation.pixels(grids.window_grid(native, wider), scope)
        east, north = _gradient(values.astype(np.float64), grid)
        return measure(east, north).astype(np.float32), _surrounded(valid)

    compute = resampled(on_native, native, "nearest", _FLOAT32)
    return ImageBand(name, _FLOAT32, native, compute, elevation.footprint)


def _slope(east: Array, north: Array) -> Array:
    return np.asarray(np.degrees(np.arctan(np.hypot(east, north))))


def _aspect(east: Array, north: Array) -> Array:
    """The direction of the steepest descent, in degrees clockwise from north."""
    return np.asarray(np.degrees(np.arctan2(-east, -north)) % 360.0)


@algorithm("Terrain.slope")
def slope(dem: Image) -> Image:
    return derived(dem, [_terrain_band(dem, "slope", _slope)])


@algorithm("Terrain.aspect")
def aspect(dem: Image) -> Image:
    return derived(dem, [_terrain_band(dem, "aspect", _aspect)])


def _shade(azimuth: float, elevation: float) -> Callable[[Array, Array], Array]:
    sun, zenith = np.radians(azimuth), np.radians(90.0 - elevation)

    def measure(east: Array, north: Array) -> Array:
        tilt = np.arctan(np.hypot(east, north))
        facing = np.radians(_aspect(east, north))
        light = np.cos(zenith) * np.cos(tilt) + np.sin(zenith) * np.sin(tilt) * np.cos(sun - facing)
        return np.asarray(np.clip(light, 0.0, 1.0) * 255.0)

    return measure


@algorithm("Terrain.hillshade")
def hillshade(dem: Image, azimuth: float, elevation: float) -> Image:
    return derived(dem, [_terrain_band(dem, "hillshade", _shade(azimuth, elevation))])


@algorithm("Terrain.products", "Terrain")
def products(dem: Image) -> Image:
    result: Any = dem
    for part in (slope(dem), aspect(dem), hillshade(dem, 270.0, 45.0)):
        result = add_bands(result, part, None, False)
    return result
