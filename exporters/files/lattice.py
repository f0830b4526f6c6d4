"""The pixels of a raster on Earth: a CRS and an affine transform, and the positions of a grid's pixel centres there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio import Affine

from pipeline.grid import WGS84, Grid, to_lonlat

Positions = NDArray[np.float64]
_CLOSE_PX = 1e-6  # closer than this to a pixel's centre or edge, a position is meant to be there
_SAME_PX = 1e-3  # two files whose pixels are so close have the same pixels
_TURN_DEG = 360.0


@dataclass(frozen=True)
class Lattice:
    """`transform` maps (column, row) of pixel corners to x and y of `crs`: a, b, c, d, e, f as in rasterio."""

    crs: CRS
    transform: tuple[float, ...]

    @classmethod
    def of(cls, grid: Grid) -> Lattice:
        """The lattice whose pixel (0, 0) is the grid's first."""
        return cls(_crs(grid.crs), grid.transform)

    @cached_property
    def _inverse(self) -> Affine:
        return ~Affine(*self.transform)

    @property
    def turns(self) -> bool:
        """Whether its x are degrees of longitude, so that what is 360 further is the same place."""
        return bool(self.crs.is_geographic)

    def turned(self, times: int) -> Lattice:
        """The lattice so many turns around the Earth further east."""
        a, b, c, *others = self.transform
        return replace(self, transform=(a, b, c + times * _TURN_DEG, *others))

    def shift(self, other: Lattice, shape_yx: tuple[int, int]) -> tuple[int, int] | None:
        """Where pixel (0, 0) of `other` lies here, as whole (column, row).

        None if the pixels of `other`, a raster of `shape_yx`, are not pixels of this lattice.
        """
        if self.crs != other.crs and not _same(self.crs, other.crs):
            return None
        height, width = shape_yx
        there = Affine(*other.transform)
        corners = [(0, 0), (width, 0), (0, height)]
        columns, rows = zip(*(self._inverse * (there * corner) for corner in corners), strict=True)
        column, row = round(columns[0]), round(rows[0])
        expected = [(column, row), (column + width, row), (column, row + height)]
        off = [abs(x - a) + abs(y - b) for x, y, (a, b) in zip(columns, rows, expected, strict=True)]
        return (column, row) if max(off) < _SAME_PX else None

    def positions(self, grid: Grid) -> tuple[Positions, Positions]:
        """Columns and rows (y, x) of the grid's pixel centres in this lattice; not finite where it has none.

        Longitudes are within half a turn of the chip's centre, also where that is beyond 180 degrees.
        """
        x, y = self._coordinates(grid)
        columns, rows = self._inverse * (x, y)
        return _settled(columns), _settled(rows)

    def _coordinates(self, grid: Grid) -> tuple[Positions, Positions]:
        x, y = _centres(grid)
        if _same(self.crs, _crs(grid.crs)):
            return x, y
        # By way of longitude and latitude: PROJ exchanges x and y between the two names that UPS has.
        lon, lat = to_lonlat(grid.crs).transform(x, y)
        if not self.turns:
            x, y = _from_lonlat(self.crs).transform(lon, lat)
            return np.asarray(x), np.asarray(y)
        lon = _around(np.asarray(lon), grid.centre_lonlat[0])
        x, y = _from_lonlat(self.crs).transform(lon, lat)
        return _around(np.asarray(x), grid.centre_lonlat[0]), np.asarray(y)


def _centres(grid: Grid) -> tuple[Positions, Positions]:
    y, x = grid.centres_yx
    both = np.meshgrid(x, y)
    return both[0], both[1]


def _around(lon: Positions, middle: float) -> Positions:
    """The same longitudes, within half a turn of `middle`."""
    with np.errstate(invalid="ignore"):
        return lon - _TURN_DEG * np.round((lon - middle) / _TURN_DEG)


def _settled(positions: Positions) -> Positions:
    """Positions freed of rounding where they are meant to be a pixel's centre or edge."""
    halves = np.round(positions * 2) / 2
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(positions - halves) < _CLOSE_PX, halves, positions)


@lru_cache(maxsize=256)
def _crs(code: str) -> CRS:
    return CRS.from_user_input(code)


@lru_cache(maxsize=256)
def _same(one: CRS, other: CRS) -> bool:
    return bool(one.equals(other, ignore_axis_order=True))


@lru_cache(maxsize=256)
def _from_lonlat(crs: CRS) -> Transformer:
    return Transformer.from_crs(WGS84, crs, always_xy=True)
