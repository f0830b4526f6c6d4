"""Bands of the planet's images: a rectangle of a lattice and a painter of its pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from sandbox.planet.lattice import Lattice
from sandbox.stored import Projection, StoredImage, Valid, Values, Window

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


@dataclass(frozen=True)
class PlanetBand:
    """A band whose painter answers lattice windows; outside `extent` pixels are masked."""

    name: str
    dtype: np.dtype[Any]
    extent: Extent
    paint: Painter

    @property
    def projection(self) -> Projection:
        return self.extent.projection

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.extent.height, self.extent.width

    def read(self, window: Window) -> tuple[Values, Valid]:
        """Values (height, width) and which are data; windows may reach outside the band."""
        left, top = max(window.column, 0), max(window.row, 0)
        right = min(window.column + window.width, self.extent.width)
        bottom = min(window.row + window.height, self.extent.height)
        if right <= left or bottom <= top:
            shape = (window.height, window.width)
            return np.zeros(shape, self.dtype), np.zeros(shape, np.bool_)
        inside = Window(left + self.extent.column, top + self.extent.row, right - left, bottom - top)
        values, valid = self.paint(inside)
        values = values.astype(self.dtype, copy=False)
        valid = np.ones(values.shape, np.bool_) if valid is None else valid
        if (inside.width, inside.height) == (window.width, window.height):
            return values, valid
        return _placed(values, window, left, top), _placed(valid, window, left, top)


def _placed(values: NDArray[Any], window: Window, left: int, top: int) -> NDArray[Any]:
    out = np.zeros((window.height, window.width), values.dtype)
    y, x = top - window.row, left - window.column
    out[y : y + values.shape[0], x : x + values.shape[1]] = values
    return out


class LazyImage(StoredImage):
    """A stored image whose bands are made when they are asked for: catalogue answers hold hundreds."""

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
    """The extent whose first corner is (left, top) in CRS units; the corner must lie on the lattice."""
    return Extent(
        lattice,
        round((left - lattice.x0) / lattice.dx),
        round((top - lattice.y0) / lattice.dy),
        round(width_m / lattice.dx),
        round(height_m / -lattice.dy),
    )
