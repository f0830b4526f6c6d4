"""Masks: reading, changing and filling them, clipping to a geometry, selection by a condition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.errors import EarthEngineError
from sandbox.functions.features import Feature, element_geometry
from sandbox.functions.geometry import Geometry
from sandbox.functions.image_math import union_type
from sandbox.functions.images import ConstantPixels, Image, ImageBand, constant, saturated
from sandbox.functions.pointwise import filled, number_of, stepped
from sandbox.functions.scope import Scope, rasterized
from sandbox.raster import grids, masks
from sandbox.raster.grids import PixelGrid
from sandbox.raster.resample import Pixels
from sandbox.raster.stored import Window
from sandbox.registry import algorithm

_BYTE = np.dtype(np.uint8)


def _with_valid(band: ImageBand, test: Callable[[PixelGrid, Scope], NDArray[np.bool_] | None]) -> ImageBand:
    """The band with additional masking where `test` is false (None: nowhere)."""

    def compute(grid: PixelGrid, scope: Scope) -> Pixels:
        values, valid = band.pixels(grid, scope)
        return values, masks.both(valid, test(grid, scope))

    return replace(band, compute=compute)


def _truth(band: ImageBand) -> Callable[[PixelGrid, Scope], NDArray[np.bool_]]:
    def test(grid: PixelGrid, scope: Scope) -> NDArray[np.bool_]:
        values, valid = band.pixels(grid, scope)
        return masks.shared(masks.both(values > 0, valid))

    return test


def _matched(image: Image, other: Image, name: str) -> list[tuple[ImageBand, ImageBand]]:
    """Each band of `image` with a band of `other`: its only band, or the band at the same index."""
    if len(other.bands) == 1:
        return [(band, other.bands[0]) for band in image.bands]
    if len(other.bands) != len(image.bands):
        raise EarthEngineError(
            f"{name}: Image has {len(image.bands)} bands but the other has {len(other.bands)}: it must have one band "
            "or as many."
        )
    return list(zip(image.bands, other.bands, strict=True))


@algorithm("Image.updateMask")
def update_mask(image: Image, mask: Image) -> Image:
    return image.with_bands([_with_valid(a, _truth(b)) for a, b in _matched(image, mask, "Image.updateMask")])


@algorithm("Image.selfMask")
def self_mask(image: Image) -> Image:
    return image.with_bands([_with_valid(band, _truth(band)) for band in image.bands])


def _mask_band(band: ImageBand) -> ImageBand:
    def compute(grid: PixelGrid, scope: Scope) -> Pixels:
        _, valid = band.pixels(grid, scope)
        return valid.astype(np.uint8), masks.everywhere(valid.shape)

    return ImageBand(band.name, _BYTE, band.projection, compute)


@algorithm("Image.mask")
def mask(image: Image, new: Image | None) -> Image:
    """The mask of each band as 0 and 1; with `new`, the same pixels with that mask instead."""
    if new is None:
        return Image(tuple(_mask_band(band) for band in image.bands), image.properties)
    return image.with_bands([_masked_by(a, b) for a, b in _matched(image, new, "Image.mask")])


def _masked_by(band: ImageBand, new: ImageBand) -> ImageBand:
    def compute(grid: PixelGrid, scope: Scope) -> Pixels:
        return band.pixels(grid, scope)[0], _truth(new)(grid, scope)

    return replace(band, compute=compute)


def _unmasked(band: ImageBand, fill: ImageBand, within_footprint: bool) -> ImageBand:
    dtype = union_type(band.dtype, fill.dtype)

    def compute(grid: PixelGrid, scope: Scope) -> Pixels:
        values, valid = band.pixels(grid, scope)
        if masks.is_everywhere(valid):
            return saturated(values, dtype), valid
        filling, fill_valid = fill.pixels(grid, scope)
        inside = scope.within(band.footprint, grid) if within_footprint else None
        known = valid | masks.both(fill_valid, inside)
        return np.where(valid, saturated(values, dtype), saturated(filling, dtype)), masks.shared(known)

    if isinstance(fill.compute, ConstantPixels) and not within_footprint:
        return replace(stepped(band, filled(number_of(fill.compute.value), dtype)), footprint=None)
    return replace(band, dtype=dtype, compute=compute, footprint=band.footprint if within_footprint else None)


@algorithm("Image.unmask")
def unmask(image: Image, value: Image | None, same_footprint: bool) -> Image:
    """Masked pixels become `value` (0); with same_footprint only inside the image's own footprint."""
    fill = value if value is not None else constant(0)
    bands = [_unmasked(a, b, same_footprint) for a, b in _matched(image, fill, "Image.unmask")]
    return replace(image, bands=tuple(bands), footprint=image.footprint if same_footprint else None)


@algorithm("Image.where")
def where(image: Image, test: Image, value: Image) -> Image:
    """`value` where `test` is not 0 and both are valid; the input elsewhere. The type is the union of both types."""
    tests = _matched(image, test, "Image.where")
    values = _matched(image, value, "Image.where")
    return image.with_bands([_chosen(band, t, v) for (band, t), (_, v) in zip(tests, values, strict=True)])


def _chosen(band: ImageBand, test: ImageBand, value: ImageBand) -> ImageBand:
    dtype = union_type(band.dtype, value.dtype)

    def compute(grid: PixelGrid, scope: Scope) -> Pixels:
        (values, valid), (decisive, decided) = band.pixels(grid, scope), test.pixels(grid, scope)
        other, other_valid = value.pixels(grid, scope)
        chosen = masks.both(masks.both(decisive != 0, decided), other_valid)
        kept = saturated(values, dtype)
        return np.where(chosen, saturated(other, dtype), kept) if chosen.any() else kept, valid

    return replace(band, dtype=dtype, compute=compute)


def clipped(image: Image, geometry: Geometry) -> Image:
    """The image, masked where the centre of a pixel is outside the geometry."""

    def test(grid: PixelGrid, scope: Scope) -> NDArray[np.bool_]:
        key = (id(geometry), grid)
        if key not in scope.inside:
            scope.referenced.append(geometry)
            scope.inside[key] = rasterized(geometry.in_crs(grid.crs), grid)
        return scope.inside[key]

    outline = geometry.lonlat
    footprint = outline if image.footprint is None else image.footprint.intersection(outline)
    bands = [
        replace(_with_valid(band, test), footprint=footprint, window=_window_of(band, geometry)) for band in image.bands
    ]
    return replace(image, bands=tuple(bands), footprint=footprint)


def _window_of(band: ImageBand, geometry: Geometry) -> Window | None:
    """The pixels of a band under a geometry, or what the band had where the geometry has no bounds in its CRS."""
    shape = geometry.in_crs(band.projection.crs)
    if not np.isfinite(shape.bounds).all():
        return band.window
    window = grids.covering_window(band.projection, shape)
    return window if band.window is None else window.intersection(band.window)


@algorithm("Image.clip")
def clip(image: Image, target: Any) -> Image:
    if isinstance(target, (Feature, Image)):
        target = element_geometry(target)
    if not isinstance(target, Geometry):
        united = getattr(target, "united", None)
        if united is None:
            raise EarthEngineError("Image.clip: Parameter 'geometry' must be a Geometry or a Feature.")
        target = Geometry(united())
    return clipped(image, target)
