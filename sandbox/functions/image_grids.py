"""Algorithms on the grid of an image: resampling, reprojection, the grid of a download."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sandbox.errors import EarthEngineError
from sandbox.functions.geometry import Geometry
from sandbox.functions.images import Compute, Image, ImageBand, resampled
from sandbox.functions.projections import projection_of
from sandbox.functions.scope import Scope
from sandbox.raster import grids, masks
from sandbox.raster.grids import DEFAULT_PROJECTION, LONLAT, PixelGrid
from sandbox.raster.resample import Pixels
from sandbox.raster.stored import Projection, Window
from sandbox.registry import algorithm

_MODES = ("bilinear", "bicubic")
_EQUAL_AREA = "EPSG:6933"


@algorithm("Image.resample")
def resample(image: Image, mode: str) -> Image:
    """Interpolate when the image is computed on another grid than its own; on its own grid nothing changes."""
    if mode not in _MODES:
        raise EarthEngineError(f"Image.resample: Unrecognized resampling mode: '{mode}'. Use bilinear or bicubic.")
    return image.with_bands([_interpolated(band, mode) for band in image.bands])


def _interpolated(band: ImageBand, mode: str) -> ImageBand:
    return replace(band, compute=resampled(band.pixels, band.projection, mode, band.dtype, band.window, band.levels))


def _wanted_projection(image: Image, crs: Projection, transform: Any, scale: float | None, name: str) -> Projection:
    if transform is not None and scale is not None:
        raise EarthEngineError(f"{name}: Cannot specify both crsTransform and scale.")
    if transform is not None:
        return projection_of(crs, transform)
    return crs if scale is None else grids.at_scale(crs.crs, scale)


def _on(projection: Projection, band: ImageBand, compute: Compute) -> ImageBand:
    return replace(band, projection=projection, compute=compute, window=None, levels=0)


@algorithm("Image.reproject")
def reproject(image: Image, crs: Projection, transform: Any, scale: float | None) -> Image:
    """Force computation on a projection's pixels; other grids then take the nearest of these pixels."""
    wanted = _wanted_projection(image, crs, transform, scale, "Image.reproject")
    bands = [_on(wanted, band, resampled(band.pixels, wanted, "nearest", band.dtype)) for band in image.bands]
    return image.with_bands(bands)


@algorithm("Image.setDefaultProjection")
def set_default_projection(image: Image, crs: Projection, transform: Any, scale: float | None) -> Image:
    """Change the default projection without resampling."""
    wanted = _wanted_projection(image, crs, transform, scale, "Image.setDefaultProjection")
    return image.with_bands([_on(wanted, band, band.pixels) for band in image.bands])


def _scaled(projection: Projection, image_shape: Any, width: int | None, height: int | None,
            longest: int | None) -> Projection:  # fmt: skip
    """The lattice on which a shape's bounds have `width` by `height` pixels (or at most `longest`)."""
    left, bottom, right, top = image_shape.bounds
    if width and height:
        return Projection(projection.crs, ((right - left) / width, 0.0, left, 0.0, (bottom - top) / height, top))
    step = max((right - left) / (width or longest or 1), (top - bottom) / (height or longest or 1))
    if width or height:
        step = (right - left) / width if width else (top - bottom) / (height or 1)
    return Projection(projection.crs, (step, 0.0, left, 0.0, -step, top))


@algorithm("Image.clipToBoundsAndScale")
def clip_to_bounds_and_scale(
    image: Image, geometry: Geometry | None, width: Any, height: Any, longest: Any, scale: float | None
) -> Image:
    """Set the grid of a download: the geometry's bounds in the image's CRS, at a scale or size."""
    native = image.projection
    region = geometry if geometry is not None else Geometry(_footprint(image))
    shape = region.in_crs(native.crs)
    if width or height or longest:
        lattice = _scaled(native, shape, width, height, longest)
    else:
        lattice = native if scale is None else grids.at_scale(native.crs, scale)
    grid = grids.covering_grid(lattice, shape)
    window = Window(0, 0, grid.width, grid.height)
    bands = [replace(b, compute=b.pixels, projection=grid.projection, window=window) for b in image.bands]
    return replace(image, bands=tuple(bands), clip_grid=grid)


def _footprint(image: Image) -> Any:
    if image.footprint is None:
        raise EarthEngineError("Image.clipToBoundsAndScale: The geometry of an unbounded image must be given.")
    return image.footprint


def native_grid(image: Image) -> PixelGrid:
    """The default grid of a request: the download's, or the first band's over its footprint.

    Raises EarthEngineError (400) when the image is unbounded.
    """
    if image.clip_grid is not None:
        return image.clip_grid
    if image.footprint is None:
        raise EarthEngineError("The image is unbounded: a grid or a region must be given.")
    native = image.projection
    covering = grids.covering_grid(native, Geometry(image.footprint).in_crs(native.crs))
    return _within(covering, native, image.bands[0].window) if image.bands else covering


def _within(grid: PixelGrid, native: Projection, band: Window | None) -> PixelGrid:
    """The part of a grid on the lattice of `native` that lies in a band: an outline in lon/lat may reach a pixel
    beyond."""
    window = grids.window_on(native, grid)
    common = window.intersection(band) if window and band else None
    return grids.window_grid(native, common) if common and common.width and common.height else grid


def _coordinate_band(name: str, axis: int) -> ImageBand:
    def compute(grid: PixelGrid, scope: Scope) -> Pixels:
        values = np.broadcast_to(scope.positions_in(grid, LONLAT)[axis], grid.shape)
        return np.ascontiguousarray(values), masks.everywhere(grid.shape)

    return ImageBand(name, np.dtype(np.float64), DEFAULT_PROJECTION, compute)


@algorithm("Image.pixelArea")
def pixel_area() -> Image:
    """Square metres of each pixel on the ellipsoid, from its corners in an equal-area projection."""

    def compute(grid: PixelGrid, scope: Scope) -> Pixels:
        a, b, c, d, e, f = grid.transform
        corners = (a, b, c - (a + b) / 2, d, e, f - (d + e) / 2)
        x, y = scope.positions_in(PixelGrid(grid.crs, corners, grid.width + 1, grid.height + 1), _EQUAL_AREA)
        across = (x[1:, 1:] - x[:-1, :-1]) * (y[1:, :-1] - y[:-1, 1:])
        along = (x[1:, :-1] - x[:-1, 1:]) * (y[1:, 1:] - y[:-1, :-1])
        return np.abs(across - along) / 2, masks.everywhere(grid.shape)

    return Image((ImageBand("area", np.dtype(np.float64), DEFAULT_PROJECTION, compute),))


@algorithm("Image.pixelLonLat")
def pixel_lonlat() -> Image:
    return Image((_coordinate_band("longitude", 0), _coordinate_band("latitude", 1)))
