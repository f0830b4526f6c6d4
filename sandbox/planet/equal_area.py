"""Equal-area maps of the whole Earth whose parallels are straight: MODIS's sinusoidal grid and GHSL's Mollweide.

In both, y follows from the latitude alone, and x is the longitude times a length that does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.lattice import Lattice
from sandbox.planet.raster import Extent
from sandbox.raster.stored import Projection, Window

F64 = NDArray[np.float64]

_MODIS_RADIUS_M, _MAJOR_AXIS_M = 6371007.181, 6378137.0


@dataclass(frozen=True)
class MapLattice(Lattice):
    """The cells of such a map; `crs` is what Earth Engine calls it."""

    crs: str = ""

    def projection(self, column: int = 0, row: int = 0) -> Projection:
        """The projection of an image whose first pixel is the lattice's (column, row)."""
        x, y = self.x0 + column * self.dx, self.y0 + row * self.dy
        return Projection(self.crs, (self.dx, 0.0, x, 0.0, self.dy, y))


@dataclass(frozen=True)
class EqualArea:
    """One map: its cells, and how latitudes (degrees) lie in it.

    `y_m` and `degree_m` give y and the length of a degree of longitude (m) at latitudes; `lat` is the inverse of `y_m`.
    """

    lattice: MapLattice
    columns: int
    rows: int
    y_m: Callable[[F64], F64]
    degree_m: Callable[[F64], F64]
    lat: Callable[[F64], F64]

    @cached_property
    def extent(self) -> Extent:
        return Extent(self.lattice, 0, 0, self.columns, self.rows)

    def bounds(self, window: Window) -> tuple[float, float, float, float]:
        """West, south, east and north (degrees) around the cells of a window, as far as the Earth reaches."""
        m = self.lattice
        x = m.x0 + np.array([window.column, window.column + window.width]) * m.dx
        y = m.y0 + np.array([window.row, window.row + window.height]) * m.dy
        north, south = self.lat(y)
        widest = float(np.clip(0.0, south, north))
        degrees = x[:, None] / np.maximum(self.degree_m(np.array([north, south, widest])), 1.0)
        west, east = np.clip([degrees.min(), degrees.max()], -180.0, 180.0)
        return float(west), float(south), float(east), float(north)

    def cells(self, lon: F64, lat: F64) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Columns (lat, lon) and rows (lat, 1) of the cells that hold points of a grid of degrees."""
        m = self.lattice
        x = self.degree_m(lat)[:, None] * lon
        column, row = np.floor((x - m.x0) / m.dx), np.floor((self.y_m(lat) - m.y0) / m.dy)
        return column.astype(np.int64), row.astype(np.int64)[:, None]


def _sinusoidal() -> EqualArea:
    radius, cell = _MODIS_RADIUS_M, 463.31271652791725 / 2
    half_y = 43200 * cell
    return EqualArea(
        MapLattice(0, cell, -cell, -2 * half_y, half_y, crs="SR-ORG:6974"),
        172800,
        86400,
        lambda lat: radius * np.radians(lat),
        lambda lat: np.radians(radius) * np.cos(np.radians(lat)),
        lambda y_m: np.clip(np.degrees(y_m / radius), -90.0, 90.0),
    )


def _angle(lat: F64) -> F64:
    """Mollweide's auxiliary angle t with 2 t + sin 2 t = pi sin(lat), in radians: Newton's steps from a near guess."""
    target, steps = np.pi * np.sin(np.radians(lat)), 12
    # Near the poles the slope is 0; there 1 - t goes with the cube root of what is missing.
    t = np.sign(lat) * (np.pi / 2 - np.cbrt(0.75 * np.maximum(np.pi - np.abs(target), 0.0)))
    for _ in range(steps):
        slope = np.maximum(2 + 2 * np.cos(2 * t), 1e-12)
        t = np.clip(t - (2 * t + np.sin(2 * t) - target) / slope, -np.pi / 2, np.pi / 2)
    return np.asarray(t)


def _latitude(angle: F64) -> F64:
    return np.degrees(np.arcsin(np.clip((2 * angle + np.sin(2 * angle)) / np.pi, -1, 1)))


def _mollweide() -> EqualArea:
    tall, wide = np.sqrt(2) * _MAJOR_AXIS_M, 2 * np.sqrt(2) / np.pi * _MAJOR_AXIS_M
    return EqualArea(
        MapLattice(0, 100.0, -100.0, -18_041_000.0, 9_000_000.0, crs="ESRI:54009"),
        360_820,
        180_000,
        lambda lat: tall * np.sin(_angle(lat)),
        lambda lat: np.radians(wide) * np.cos(_angle(lat)),
        lambda y_m: _latitude(np.arcsin(np.clip(y_m / tall, -1, 1))),
    )


SINUSOIDAL = _sinusoidal()
MOLLWEIDE = _mollweide()
