"""Statistics and samples of an image over a region."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from sandbox.errors import EarthEngineError
from sandbox.functions.element_collections import Collection
from sandbox.functions.features import Feature, element_geometry
from sandbox.functions.geometry import Geometry
from sandbox.functions.images import Image
from sandbox.functions.projections import projection_of
from sandbox.functions.reducers import Reducer
from sandbox.functions.scope import Scope, rasterized
from sandbox.raster import grids
from sandbox.raster.grids import PixelGrid
from sandbox.raster.stored import Projection
from sandbox.registry import algorithm

_MAX_RECTANGLE_PIXELS = 262_144
_EXACT_COVERAGE_PIXELS = 20_000


@dataclass(frozen=True)
class Region:
    """The grid of a reduction, and the shape (in the grid's CRS) that selects its pixels."""

    grid: PixelGrid
    shape: BaseGeometry

    @cached_property
    def coverage(self) -> NDArray[np.float64]:
        """The fraction of each pixel that is inside, (height, width) float64."""
        return _coverage(self.shape, self.grid)

    @cached_property
    def centre_inside(self) -> NDArray[np.bool_]:
        return _centres_inside(self.shape, self.grid)


def _lattice(image: Image, scale: float | None, crs: Projection | None, transform: Any) -> Projection:
    if crs is None and transform is not None:
        raise EarthEngineError("Image.reduceRegion: If crsTransform is specified, crs must be too.")
    base = crs if crs is not None else image.projection
    if transform is not None:
        return projection_of(base, transform)
    return base if scale is None else grids.at_scale(base.crs, scale)


def _region(lattice: Projection, geometry: Geometry, name: str, max_pixels: float, best_effort: bool) -> Region:
    shape = geometry.in_crs(lattice.crs)
    grid = grids.covering_grid(lattice, shape)
    while grid.width * grid.height > max_pixels and best_effort:
        a, b, c, d, e, f = lattice.transform
        lattice = Projection(lattice.crs, (a * 2, b * 2, c, d * 2, e * 2, f))
        grid = grids.covering_grid(lattice, shape)
    if grid.width * grid.height > max_pixels:
        raise _too_many(name, grid, max_pixels)
    return Region(grid, shape)


def _too_many(name: str, grid: PixelGrid, max_pixels: float) -> EarthEngineError:
    return EarthEngineError(
        f"{name}: Too many pixels in the region. Found {grid.width * grid.height}, but maxPixels allows only "
        f"{int(max_pixels)}.\nEnsure that you are not aggregating at a higher resolution than you intended; that is "
        "the most frequent cause of this error. If not, then you may set the 'maxPixels' argument to a limit suitable "
        "for your computation; set 'bestEffort' to true to aggregate at whatever scale results in 'maxPixels' total "
        "pixels; or both."
    )


def _centres_inside(shape: Any, grid: PixelGrid) -> NDArray[np.bool_]:
    if shape.area == 0:
        return np.ones(grid.shape, dtype=np.bool_)
    return rasterized(shape, grid)


def _coverage(shape: Any, grid: PixelGrid) -> NDArray[np.float64]:
    """The fraction of each pixel inside: exact for small regions, 0 or 1 by the pixel centre for large ones."""
    if shape.area == 0 or grid.width * grid.height > _EXACT_COVERAGE_PIXELS:
        return _centres_inside(shape, grid).astype(np.float64)
    columns, rows = np.meshgrid(np.arange(grid.width), np.arange(grid.height))
    corners = [grids.apply(grid.transform, columns + dx, rows + dy) for dx, dy in ((0, 0), (1, 1))]
    boxes = shapely.box(*corners[0], *corners[1])
    shapely.prepare(shape)
    coverage = shapely.covers(shape, boxes).astype(np.float64)
    # The intersection is computed only for pixels on the edge.
    edge = (coverage == 0) & shapely.intersects(shape, boxes)
    coverage[edge] = shapely.area(shapely.intersection(boxes[edge], shape)) / shapely.area(boxes[edge])
    return coverage


def _reduced(image: Image, reducer: Reducer, region: Region, scope: Scope) -> dict[str, Any]:
    result: dict[str, Any] = {}
    coverage = region.coverage if reducer.weighted else region.centre_inside.astype(np.float64)
    for band in image.bands:
        values, valid = band.pixels(region.grid, scope)
        counted = (valid & (coverage > 0)).reshape(-1, 1)
        outputs = reducer.reduce(values.reshape(-1, 1), counted, coverage.reshape(-1, 1))
        for name, (number, known) in zip(reducer.outputs, outputs, strict=True):
            label = band.name if len(reducer.outputs) == 1 else f"{band.name}_{name}"
            result[label] = number[0].item() if known[0] else None
    return result


@algorithm("Image.reduceRegion")
def reduce_region(
    image: Image, reducer: Reducer, geometry: Geometry | None, scale: float | None, crs: Projection | None,
    transform: Any, best_effort: bool, max_pixels: float, tile_scale: float,
) -> dict[str, Any]:  # fmt: skip
    """One number per band (and per output of the reducer); null if the region has no valid pixel."""
    target = geometry if geometry is not None else element_geometry(image)
    if target is None or target.lonlat.is_empty:
        return dict.fromkeys(image.band_names())
    lattice = _lattice(image, scale, crs, transform)
    region = _region(lattice, target, "Image.reduceRegion", max_pixels, best_effort)
    return _reduced(image, reducer, region, Scope())


@algorithm("Image.reduceRegions")
def reduce_regions(
    image: Image, collection: Collection, reducer: Reducer, scale: float | None, crs: Projection | None,
    transform: Any, tile_scale: float, max_pixels: Any,
) -> Collection:  # fmt: skip
    """Each feature with new properties, named after the reducer's outputs (one band) or after the bands."""

    def reduced(query: Any) -> Any:
        for element in collection:
            target = element_geometry(element)
            result = {} if target is None else reduce_region(
                image, reducer, target, scale, crs, transform, False, max_pixels or 1e7, tile_scale)  # fmt: skip
            if len(image.bands) == 1 and len(reducer.outputs) == 1:
                result = {reducer.outputs[0]: next(iter(result.values()), None)}
            yield Feature(target, {**element.properties, **result})

    return Collection(reduced, False)


@algorithm("Image.sampleRectangle")
def sample_rectangle(
    image: Image, region: Geometry | None, properties: Any, default: float | None, default_array: Any
) -> Feature:
    """A feature with one two-dimensional list per band: all pixels of the region's bounds."""
    target = region if region is not None else element_geometry(image)
    if target is None:
        raise EarthEngineError("Image.sampleRectangle: The image has no footprint; give a region.")
    grid = grids.covering_grid(image.projection, target.in_crs(image.projection.crs))
    if grid.width * grid.height > _MAX_RECTANGLE_PIXELS:
        raise EarthEngineError(
            f"Image.sampleRectangle: Too many pixels in sample; must be <= {_MAX_RECTANGLE_PIXELS}. "
            f"Got {grid.width * grid.height}."
        )
    scope = Scope()
    arrays = {band.name: _rectangle(band.pixels(grid, scope), band.name, default) for band in image.bands}
    wanted = image.properties if properties is None else {n: image.properties.get(n) for n in properties}
    return Feature(target, {**wanted, **arrays})


def _rectangle(pixels: Any, name: str, default: float | None) -> list[list[Any]]:
    values, valid = pixels
    if not valid.all():
        if default is None:
            raise EarthEngineError(
                f"Image.sampleRectangle: Fully masked or partially masked pixels in band '{name}': use unmask() or "
                "defaultValue."
            )
        values = np.where(valid, values, np.asarray(default, values.dtype))
    rows: list[list[Any]] = values.tolist()
    return rows


@algorithm("Image.sample")
def sample(
    image: Image, region: Geometry | None, scale: float | None, projection: Projection | None, factor: Any,
    count: int | None, seed: int, drop_nulls: bool, tile_scale: float, with_geometry: bool,
) -> Collection:  # fmt: skip
    """The pixels of a region as features; `count` (numPixels) of them are drawn with the seed."""
    target = region if region is not None else element_geometry(image)
    if target is None:
        raise EarthEngineError("Image.sample: The image has no footprint; give a region.")
    result = _region(_lattice(image, scale, projection, None), target, "Image.sample", 1e7, False)
    rows, columns = np.nonzero(result.centre_inside)
    if count is not None and count < len(rows):
        chosen = np.sort(np.random.default_rng(seed).choice(len(rows), count, replace=False))
        rows, columns = rows[chosen], columns[chosen]
    return _sampled(image, result.grid, rows, columns, drop_nulls, with_geometry)


def _sampled(image: Image, grid: PixelGrid, rows: Any, columns: Any, drop_nulls: bool, located: bool) -> Collection:
    scope = Scope()
    pixels = [(band.name, *band.pixels(grid, scope)) for band in image.bands]
    x, y = grids.apply(grid.transform, columns + 0.5, rows + 0.5)
    features = []
    for i, (row, column) in enumerate(zip(rows, columns, strict=True)):
        result = {name: values[row, column].item() if valid[row, column] else None for name, values, valid in pixels}
        if drop_nulls and None in result.values():
            continue
        point = Geometry(grids.project(shapely.Point(x[i], y[i]), grid.crs, grids.LONLAT)) if located else None
        features.append(Feature(point, {**result, "system:index": str(i)}))
    return Collection(lambda query: features, False)
