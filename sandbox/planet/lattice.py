"""Pixel lattices: every image of the planet is a window of the global lattice of its CRS and pixel size.

A pixel's value depends on its absolute lattice index alone, so it is the same in every window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.geodesy import earth_centred, lonlat_from_utm
from sandbox.raster.stored import Projection, Window

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Lattice:
    """All pixels of a CRS at one size: pixel (column, row) has its first corner at x0 + column * dx, y0 + row * dy.

    `knot` is the spacing in pixels at which positions are exact (bilinear between them).
    `step` is the spacing in pixels of the nodes at which smooth fields are computed.
    """

    epsg: int
    dx: float
    dy: float
    x0: float = 0.0
    y0: float = 0.0
    knot: int = 64
    step: int = 4

    @property
    def pixel_m(self) -> float:
        return self.dx if self.epsg != 4326 else self.dx * 111_320.0

    def lonlat(self, columns: F64, rows: F64) -> tuple[F64, F64]:
        """Longitude and latitude of pixel centres, (rows, columns) float64 each, degrees."""
        x = self.x0 + (columns + 0.5) * self.dx
        y = self.y0 + (rows + 0.5) * self.dy
        xx, yy = np.meshgrid(x, y)
        if self.epsg == 4326:
            return xx, np.clip(yy, -90.0, 90.0)
        return lonlat_from_utm(xx, yy, self.epsg)

    def projection(self, column: int = 0, row: int = 0) -> Projection:
        """The projection of an image whose first pixel is the lattice's (column, row)."""
        x, y = self.x0 + column * self.dx, self.y0 + row * self.dy
        return Projection(f"EPSG:{self.epsg}", (self.dx, 0.0, x, 0.0, self.dy, y))


def utm_lattice(epsg: int, pixel_m: int) -> Lattice:
    return Lattice(epsg, float(pixel_m), -float(pixel_m), step={10: 4, 20: 2, 60: 1}[pixel_m])


def quarters(lattice: Lattice) -> Lattice | None:
    """The 10 m lattice whose pixels are quarters of a 20 m UTM lattice's; None for other lattices."""
    return utm_lattice(lattice.epsg, 10) if lattice.epsg != 4326 and lattice.dx == 20 else None


def first_quarters(lattice: Lattice) -> Lattice:
    """The lattice of the upper left quarters of 20 m pixels: every other pixel, knot and node of the 10 m lattice."""
    return replace(lattice, x0=lattice.x0 - 5.0, y0=lattice.y0 + 5.0, knot=32)


def covering(start: int, size: int, spacing: int) -> tuple[int, int]:
    """First index and count of the knots, one every `spacing` pixels, that enclose pixels [start, start + size)."""
    first = start // spacing
    return first, -(-(start + size - 1) // spacing) - first + 2


def spread(values: NDArray[Any], window: Window, spacing: int) -> NDArray[Any]:
    """Bilinear values (..., height, width), in the dtype of `values`, from values at the knots of `covering`."""
    if spacing == 1:
        return values[..., : window.height, : window.width]
    part = (np.arange(spacing) / spacing).astype(values.dtype)
    pixels = np.arange(window.column, window.column + window.width)
    i = pixels // spacing - window.column // spacing
    left = values.take(i, axis=-1)
    across = left + (values.take(i + 1, axis=-1) - left) * part[pixels % spacing]
    down = np.empty((*across.shape[:-2], across.shape[-2] - 1, spacing, window.width), values.dtype)
    # One field at a time, so that the product is still in the processor's cache for the addition.
    for field, out in zip(_planes(across, 2), _planes(down, 3), strict=True):
        np.multiply((field[1:] - field[:-1])[:, None], part[:, None], out=out)
        out += field[:-1, None]
    skip = window.row % spacing
    return down.reshape(*values.shape[:-2], -1, window.width)[..., skip : skip + window.height, :]


def _planes(values: NDArray[Any], axes: int) -> NDArray[Any]:
    """The same array with all but its last `axes` axes merged into one."""
    return values.reshape(-1, *values.shape[-axes:])


def knot_lonlat(lattice: Lattice, window: Window) -> tuple[F64, F64]:
    """Exact lon and lat at the knots that enclose a window, (rows, columns) float64 each, degrees (do not modify)."""
    lon, lat, _ = _knots(replace(lattice, step=1), *_enclosing(lattice, window))
    return lon, lat


def knot_positions(lattice: Lattice, window: Window) -> F64:
    """Earth-centred metres (3, rows, columns) float64 at the same knots (do not modify)."""
    return _knots(replace(lattice, step=1), *_enclosing(lattice, window))[2]


def _enclosing(lattice: Lattice, window: Window) -> tuple[int, int, int, int]:
    return (
        *covering(window.column, window.width, lattice.knot),
        *covering(window.row, window.height, lattice.knot),
    )


@lru_cache(maxsize=512)
def _knots(lattice: Lattice, first_column: int, columns: int, first_row: int, rows: int) -> tuple[F64, F64, F64]:
    lon, lat = lattice.lonlat(
        (first_column + np.arange(columns, dtype=np.float64)) * lattice.knot,
        (first_row + np.arange(rows, dtype=np.float64)) * lattice.knot,
    )
    return lon, lat, earth_centred(lon, lat)


def pixel_positions(lattice: Lattice, window: Window) -> F64:
    """Earth-centred metres (3, height, width) float64 of pixel centres, to a few centimetres."""
    return spread(knot_positions(lattice, window), window, lattice.knot)
