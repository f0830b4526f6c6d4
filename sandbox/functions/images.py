"""Earth Engine's images: lazy bands that can be computed on any pixel grid, each with a default projection."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from sandbox.errors import EarthEngineError
from sandbox.functions.scope import Scope
from sandbox.raster import grids, longitudes, masks, pyramids, resample, stored
from sandbox.raster.grids import DEFAULT_PROJECTION, Mapping, PixelGrid
from sandbox.raster.resample import Pixels
from sandbox.raster.stored import Projection, Window

_MAX_WINDOW_PIXELS = 40_000_000
_ENTIRE_WORLD = box(-180, -90, 180, 90)

Compute = Callable[[PixelGrid, Scope], Pixels]


@dataclass(frozen=True, eq=False)
class ImageBand:
    """One lazy band; `compute` gives its pixels on any grid, `footprint` is in lon/lat (None: everywhere).

    `window` is where its pixels lie on the lattice of its projection, as far as it is known, and `levels` the coarsest
    level of the pyramid that they are stored with.
    """

    name: str
    dtype: np.dtype[Any]
    projection: Projection
    compute: Compute
    footprint: BaseGeometry | None = None
    window: Window | None = None
    levels: int = 0

    def pixels(self, grid: PixelGrid, scope: Scope) -> Pixels:
        """Values (height, width) in `dtype` and the valid mask (bool); computed once per request and grid."""
        key = (id(self), grid)
        if key not in scope.pixels:
            scope.referenced.append(self)
            scope.pixels[key] = self.compute(grid, scope)
        return scope.pixels[key]


class StoredBands(Sequence[ImageBand]):
    """The bands of a stored image, each built on first use: filters read thousands of images without their bands."""

    def __init__(self, image: stored.StoredImage) -> None:
        self._image = image
        self._built: dict[int, ImageBand] = {}

    def names(self) -> list[str]:
        """The names of the bands, without building the bands."""
        bands = self._image.bands
        names: Sequence[str] | None = getattr(bands, "names", None)
        return list(names) if names is not None else [band.name for band in bands]

    @overload
    def __getitem__(self, index: int) -> ImageBand: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[ImageBand, ...]: ...

    def __getitem__(self, index: int | slice) -> ImageBand | tuple[ImageBand, ...]:
        indices = range(len(self._image.bands))[index]
        return tuple(self._band(k) for k in indices) if isinstance(indices, range) else self._band(indices)

    def _band(self, index: int) -> ImageBand:
        if index not in self._built:
            self._built[index] = _stored_band(self._image.bands[index], self._image.footprint)
        return self._built[index]

    def __len__(self) -> int:
        return len(self._image.bands)


@dataclass(frozen=True, eq=False)
class Image:
    """Bands with properties. `clip_grid` is the grid of a download, set by clipToBoundsAndScale."""

    bands: Sequence[ImageBand]
    properties: MappingOf[str, Any] = field(default_factory=dict)
    footprint: BaseGeometry | None = None
    asset_id: str | None = None
    clip_grid: PixelGrid | None = None

    def with_bands(self, bands: list[ImageBand]) -> Image:
        return Image(tuple(bands), self.properties, self.footprint, self.asset_id, self.clip_grid)

    def with_properties(self, properties: MappingOf[str, Any]) -> Image:
        return Image(self.bands, properties, self.footprint, self.asset_id, self.clip_grid)

    def band_names(self) -> list[str]:
        return self.bands.names() if isinstance(self.bands, StoredBands) else [band.name for band in self.bands]

    @property
    def projection(self) -> Projection:
        return self.bands[0].projection if self.bands else DEFAULT_PROJECTION


def resampled(
    source: Compute, native: Projection, mode: str, dtype: np.dtype[Any], extent: Window | None = None, top: int = 0
) -> Compute:
    """A compute function for any grid that reads `source` only on its native lattice, or a level of it, and resamples.

    `extent` is where the lattice has pixels, if that is known, and `top` the coarsest level of its pyramid.
    """
    middle = longitudes.middle_of(native, extent)

    def compute(grid: PixelGrid, scope: Scope) -> Pixels:
        level = 0 if grids.window_on(native, grid) is not None else scope.level(grid, native, top)
        lattice = pyramids.at_level(native, level) if level else native
        if grids.window_on(lattice, grid) is not None and not longitudes.is_turned(grid, lattice, middle):
            return source(grid, scope)
        mapping = scope.mapping(grid, lattice, middle)
        if mapping.known is not None and not mapping.known.any():
            return np.zeros(grid.shape, dtype), np.zeros(grid.shape, dtype=np.bool_)
        window, local = mapping.derived(resample.MARGINS[mode], _window)
        values, valid = resample.sampled(mode, *source(grids.window_grid(lattice, window), scope), local)
        return values, masks.both(valid, mapping.known)

    return compute


@dataclass(frozen=True, eq=False)
class StoredPixels:
    """The compute function of a stored band: its nearest pixels, or those of a level of its pyramid up to `top`."""

    band: stored.Band
    extent: Window | None
    top: int

    def __call__(self, grid: PixelGrid, scope: Scope) -> Pixels:
        band = self.band
        if grids.window_on(band.projection, grid) is not None and not grids.geographic(grid.crs):
            return self._read(grid, scope)
        nearest = resampled(self._read, band.projection, "nearest", np.dtype(band.dtype), self.extent, self.top)
        return nearest(grid, scope)

    def _read(self, grid: PixelGrid, scope: Scope) -> Pixels:
        native = self.band.projection
        window = grids.window_on(native, grid)
        if window is not None:
            values, valid = longitudes.read_around(self.band, window)
            return values, masks.shared(valid)
        level = scope.level(grid, native, self.top)
        window = grids.window_on(pyramids.at_level(native, level), grid)
        if window is None:
            raise EarthEngineError("Internal error: a stored band was asked for pixels off its lattice.", 500)
        under = _within_memory(pyramids.native_window(window, level))
        pixels = longitudes.read_around(self.band, under)
        return pyramids.reduced(*pixels, level, getattr(self.band, "pyramid", "mean"))


def nearest_indices(native: Projection, grid: PixelGrid, scope: Scope) -> tuple[Window, NDArray[np.intp]] | None:
    """The native window under a grid, and the index (height, width) into the flattened window for each grid pixel.

    None if a pixel has no finite position.
    """
    mapping = scope.mapping(grid, native)
    if mapping.known is not None:
        return None
    window, local = mapping.derived(0, _window)
    return window, resample.nearest_index(local, window.width)


def _window(mapping: Mapping, margin: int) -> tuple[Window, Mapping]:
    """The pixels around the known positions, and positions among them; what is not known gets one that is."""
    if mapping.known is not None:
        columns, rows = np.broadcast_arrays(mapping.columns, mapping.rows)
        first = np.argmax(mapping.known)
        columns, rows = (np.where(mapping.known, x, x.flat[first]) for x in (columns, rows))
        mapping = Mapping(columns, rows)
    (west, east), (north, south) = mapping.bounds
    left, top = math.floor(west) - margin, math.floor(north) - margin
    width, height = math.floor(east) + margin + 1 - left, math.floor(south) + margin + 1 - top
    return _within_memory(Window(left, top, width, height)), Mapping(mapping.columns - left, mapping.rows - top)


def _within_memory(window: Window) -> Window:
    if window.width * window.height > _MAX_WINDOW_PIXELS:
        raise EarthEngineError("User memory limit exceeded.")
    return window


def from_stored(image: stored.StoredImage) -> Image:
    """The lazy image of a stored image; it uses nearest-neighbour resampling unless resample() changes the mode."""
    properties = {**image.properties}
    properties.setdefault("system:index", image.asset_id.rsplit("/", 1)[-1])
    return Image(StoredBands(image), properties, image.footprint, image.asset_id)


def _stored_band(band: stored.Band, footprint: BaseGeometry | None) -> ImageBand:
    shape: tuple[int, int] | None = getattr(band, "shape", None)
    whole, top = shape and Window(0, 0, shape[1], shape[0]), pyramids.top_level(shape)
    pixels = StoredPixels(band, whole, top)
    return ImageBand(band.name, np.dtype(band.dtype), band.projection, pixels, footprint, whole, top)


@dataclass(frozen=True, eq=False)
class ConstantPixels:
    """The compute function of a constant band; its `value`, of no dimension, is quicker to compute with than pixels."""

    value: NDArray[Any]

    def __call__(self, grid: PixelGrid, scope: Scope) -> Pixels:
        return np.full(grid.shape, self.value), masks.everywhere(grid.shape)


def constant_band(name: str, value: float | int) -> ImageBand:
    """The same number everywhere, in the smallest type that holds it (64-bit float for fractions)."""
    dtype = np.dtype(np.float64) if isinstance(value, float) else np.min_scalar_type(int(value))

    return ImageBand(name, dtype, DEFAULT_PROJECTION, ConstantPixels(np.asarray(value, dtype)))


def constant(value: Any) -> Image:
    """An image of one number, or one band per number of a list."""
    numbers = value if isinstance(value, (list, tuple)) else [value]
    if len(numbers) == 1:
        return Image((constant_band("constant", numbers[0]),))
    return Image(tuple(constant_band(f"constant_{i}", number) for i, number in enumerate(numbers)))


def saturated(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values cast to `dtype`: truncated towards zero and clamped to the limits of an integer type; NaN is 0."""
    if values.dtype == dtype:
        return values
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    # Comparisons with NaN are false, so only arrays in which all values fit are cast directly, which truncates.
    if values.size and values.min() >= limits.min and values.max() <= _largest(values.dtype, limits):
        return values.astype(dtype)
    if values.dtype.kind == "f":
        values = np.nan_to_num(np.trunc(values.astype(np.float64)), nan=0.0, posinf=2.0**63, neginf=-(2.0**63))
        return _clip_float(values, limits).astype(dtype)
    return np.clip(values, *_shared_limits(values.dtype, limits)).astype(dtype)


def _largest(source: np.dtype[Any], limits: Any) -> float | int:
    """An upper bound that fits and that the source type represents exactly."""
    if source.kind != "f" or limits.bits < 24:
        return int(limits.max)
    return float(np.nextafter(np.float32(limits.max), np.float32(0)))


def _clip_float(values: NDArray[Any], limits: Any) -> NDArray[Any]:
    top = float(limits.max) if limits.bits < 64 else np.nextafter(float(limits.max), 0)
    return np.clip(values, float(limits.min), top)


def _shared_limits(source: np.dtype[Any], limits: Any) -> tuple[int, int]:
    own = np.iinfo(source)
    return max(int(own.min), int(limits.min)), min(int(own.max), int(limits.max))


def world() -> BaseGeometry:
    """The footprint of an unbounded image."""
    return _ENTIRE_WORLD
