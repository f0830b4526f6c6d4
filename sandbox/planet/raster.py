"""Bands of the planet's images: a rectangle of a lattice and a function that paints its pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from sandbox.planet.lattice import Lattice
from sandbox.raster.stored import Projection, StoredImage, Valid, Values, Vote, Window

Painter = Callable[[Window], tuple[Values, Valid | None]]


@dataclass(frozen=True)
class Extent:
    """A rectangle of lattice pixels."""

    lattice: Lattice
    column: int
    row: int
    width: int
    height: int

    @cached_property
    def projection(self) -> Projection:
        return self.lattice.projection(self.column, self.row)

    def part(self, window: Window) -> Part | None:
        """The overlap of the extent with a window relative to its first pixel; None if they do not overlap."""
        left, top = max(window.column, 0), max(window.row, 0)
        right, bottom = min(window.column + window.width, self.width), min(window.row + window.height, self.height)
        if right <= left or bottom <= top:
            return None
        inside = Window(left + self.column, top + self.row, right - left, bottom - top)
        return Part(inside, top - window.row, left - window.column)


@dataclass(frozen=True)
class Part:
    """A window of lattice indices, and its first row and column in the requested window."""

    inside: Window
    row: int
    column: int

    def placed(self, values: NDArray[Any], window: Window) -> NDArray[Any]:
        """The part's values (..., height, width) placed in the window, with 0 around them."""
        if (self.inside.width, self.inside.height) == (window.width, window.height):
            return values
        out = np.zeros((*values.shape[:-2], window.height, window.width), values.dtype)
        out[..., self.row : self.row + self.inside.height, self.column : self.column + self.inside.width] = values
        return out


@dataclass(frozen=True)
class PlanetBand:
    """A band whose painter computes lattice windows; pixels outside `extent` are masked."""

    name: str
    dtype: np.dtype[Any]
    extent: Extent
    paint: Painter
    vote: Vote | None = None

    @property
    def projection(self) -> Projection:
        return self.extent.projection

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.extent.height, self.extent.width

    def read(self, window: Window) -> tuple[Values, Valid]:
        """Values (height, width) in `dtype` and the valid mask (bool); a window may extend beyond the band."""
        part = self.extent.part(window)
        if part is None:
            shape = (window.height, window.width)
            return np.zeros(shape, self.dtype), np.zeros(shape, np.bool_)
        values, valid = self.paint(part.inside)
        values = values.astype(self.dtype, copy=False)
        valid = np.ones(values.shape, np.bool_) if valid is None else valid
        return part.placed(values, window), part.placed(valid, window)


class LazyImage(StoredImage):
    """A stored image whose bands are built on first use: one query may give hundreds of images."""

    def __init__(
        self,
        asset_id: str,
        properties: Mapping[str, Any],
        footprint: BaseGeometry,
        make: Callable[[], tuple[PlanetBand, ...]],
    ) -> None:
        for name, value in zip(_LAZY, (asset_id, properties, footprint, make), strict=True):
            object.__setattr__(self, name, value)

    @property
    def bands(self) -> tuple[PlanetBand, ...]:
        made: tuple[PlanetBand, ...] | None = self.__dict__.get("_made")
        if made is None:
            made = self.__dict__["_make"]()
            object.__setattr__(self, "_made", made)
        return made


_LAZY = ("asset_id", "properties", "footprint", "_make")


def extent_of(lattice: Lattice, left: float, top: float, width_m: float, height_m: float) -> Extent:
    """The extent whose first corner is (left, top) in CRS units; the corner must be on the lattice."""
    return Extent(
        lattice,
        round((left - lattice.x0) / lattice.dx),
        round((top - lattice.y0) / lattice.dy),
        round(width_m / lattice.dx),
        round(height_m / -lattice.dy),
    )
