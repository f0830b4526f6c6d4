"""What one request computes once: pixels by band and grid, positions, outlines and levels by grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from rasterio.transform import Affine
from shapely.geometry.base import BaseGeometry
from shapely.prepared import prep

from sandbox.raster import grids, longitudes, pyramids
from sandbox.raster.grids import LONLAT, Mapping, PixelGrid
from sandbox.raster.resample import Pixels
from sandbox.raster.stored import Projection


@dataclass
class Scope:
    """The cache of one request: pixels per band and grid, positions per CRS and grid."""

    pixels: dict[tuple[int, PixelGrid], Pixels] = field(default_factory=dict)
    referenced: list[Any] = field(default_factory=list)  # references, so that the ids in keys are not reused
    positions: dict[tuple[PixelGrid, str], Any] = field(default_factory=dict)
    mappings: dict[tuple[PixelGrid, Projection, float | None], Mapping] = field(default_factory=dict)
    inside: dict[tuple[int, PixelGrid], NDArray[np.bool_]] = field(default_factory=dict)
    outlines: dict[PixelGrid, BaseGeometry] = field(default_factory=dict)
    steps: dict[tuple[PixelGrid, str], tuple[float, float]] = field(default_factory=dict)

    def mapping(self, grid: PixelGrid, native: Projection, middle: float | None = None) -> Mapping:
        """The positions of the pixel centres of `grid` on the lattice of `native`.

        Longitudes have no jump at the antimeridian: they are those nearest to `middle`, or to each other without one.
        """
        key = (grid, native, middle)
        if key not in self.mappings:
            self.mappings[key] = self._mapping(*key)
        return self.mappings[key]

    def _mapping(self, grid: PixelGrid, native: Projection, middle: float | None) -> Mapping:
        x, y = grids.centres(grid) if grid.crs == native.crs else self.positions_in(grid, native.crs)
        if grids.geographic(native.crs):
            x = longitudes.turned(x, middle)
        return Mapping(*grids.invert(native.transform, x, y))

    def positions_in(self, grid: PixelGrid, crs: str) -> Any:
        """x and y of the pixel centres of `grid` in `crs`, both (height, width) float64."""
        key = (grid, crs)
        if key not in self.positions:
            self.positions[key] = grids.positions(grid, crs)
        return self.positions[key]

    def level(self, grid: PixelGrid, native: Projection, top: int) -> int:
        """The pyramid's level that a grid takes of a lattice with levels up to `top`; 0 is the lattice itself."""
        if top == 0:
            return 0
        key = (grid, native.crs)
        if key not in self.steps:
            self.steps[key] = pyramids.steps_in(*key)
        return pyramids.level_of(self.steps[key], native, top)

    def outline(self, grid: PixelGrid) -> BaseGeometry:
        """The grid's outline in lon/lat, with vertices along its edges."""
        if grid not in self.outlines:
            edge = max(abs(grid.transform[0]) * grid.width, abs(grid.transform[4]) * grid.height) / 8
            self.outlines[grid] = longitudes.lonlat_of(grid.outline().segmentize(edge), grid.crs)
        return self.outlines[grid]

    def within(self, footprint: BaseGeometry | None, grid: PixelGrid) -> NDArray[np.bool_] | None:
        """Which pixel centres are in a lon/lat footprint, (height, width) bool; None: all of them."""
        if footprint is None or prepared(footprint).covers(self.outline(grid)):
            return None
        key = (id(footprint), grid)
        if key not in self.inside:
            self.referenced.append(footprint)
            self.inside[key] = rasterized(grids.project(footprint, LONLAT, grid.crs), grid)
        return self.inside[key]


_PREPARED: dict[int, tuple[BaseGeometry, Any]] = {}


def prepared(shape: BaseGeometry) -> Any:
    """The prepared geometry of a footprint, cached per object, for repeated predicates."""
    result = _PREPARED.get(id(shape))
    if result is None or result[0] is not shape:
        if len(_PREPARED) > 4096:
            _PREPARED.clear()
        result = _PREPARED[id(shape)] = (shape, prep(shape))
    return result[1]


def rasterized(shape: BaseGeometry, grid: PixelGrid) -> NDArray[np.bool_]:
    """Which pixels have their centre inside a geometry in the grid's CRS, (height, width) bool."""
    x_scale, x_shear, x, y_shear, y_scale, y = grid.transform
    if shape.is_empty:
        return np.zeros(grid.shape, dtype=np.bool_)
    affine = Affine(x_scale, x_shear, x, y_shear, y_scale, y)
    return np.asarray(geometry_mask([shape], grid.shape, affine, invert=True))
