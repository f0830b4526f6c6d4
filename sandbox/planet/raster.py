"""Bands of the planet's images: a rectangle of a lattice and a function that paints its pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
from shapely.geometry.base import BaseGeometry

from sandbox.planet.lattice import Lattice
from sandbox.raster import masks
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

    def part(self, window: Window) -> Window | None:
        """The overlap of the extent with a window, both relative to its first pixel; None without an overlap."""
        common = window.intersection(Window(0, 0, self.width, self.height))
        return common if common.width and common.height else None

    def on_lattice(self, window: Window) -> Window:
        """A window relative to the first pixel of the extent as one of lattice indices."""
        return Window(window.column + self.column, window.row + self.row, window.width, window.height)


@dataclass(frozen=True)
class PlanetBand:
    """A band whose painter computes lattice windows; pixels outside `extent` are masked."""

    name: str
    dtype: np.dtype[Any]
    extent: Extent
    paint: Painter
    vote: Vote | None = None
    pyramid: str = "mean"

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
        values, valid = self.paint(self.extent.on_lattice(part))
        values = values.astype(self.dtype, copy=False)
        valid = masks.everywhere(values.shape) if valid is None else valid
        return window.placed(values, part), window.placed(valid, part)


class LazyBands(Sequence[PlanetBand]):
    """Bands of known names, each built on first use: the mode of a year reads one of the ten of hundreds of images."""

    def __init__(self, names: tuple[str, ...], make: Callable[[int], PlanetBand]) -> None:
        self.names, self._make = names, make

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> PlanetBand: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[PlanetBand, ...]: ...

    def __getitem__(self, index: int | slice) -> PlanetBand | tuple[PlanetBand, ...]:
        chosen = range(len(self.names))[index]
        return tuple(self._make(k) for k in chosen) if isinstance(chosen, range) else self._make(chosen)


class LazyImage(StoredImage):
    """A stored image whose bands are built on first use: one query may give hundreds of images."""

    def __init__(
        self,
        asset_id: str,
        properties: Mapping[str, Any],
        footprint: BaseGeometry,
        make: Callable[[], Sequence[PlanetBand]],
    ) -> None:
        self.__dict__.update(asset_id=asset_id, properties=properties, footprint=footprint, _make=make)

    @property
    def bands(self) -> Sequence[PlanetBand]:
        made: Sequence[PlanetBand] | None = self.__dict__.get("_made")
        if made is None:
            made = self.__dict__["_make"]()
            self.__dict__["_made"] = made
        return made


def extent_of(lattice: Lattice, left: float, top: float, width_m: float, height_m: float) -> Extent:
    """The extent whose first corner is (left, top) in CRS units; the corner must be on the lattice."""
    return Extent(
        lattice,
        round((left - lattice.x0) / lattice.dx),
        round((top - lattice.y0) / lattice.dy),
        round(width_m / lattice.dx),
        round(height_m / -lattice.dy),
    )
