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
from sandbox.planet.recent import Recent, cutting, widened
from sandbox.raster.stored import Projection, Window

F64 = NDArray[np.float64]
_SMALL = 1 << 15
_KNOTS: Recent[F64] = Recent(512)


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
        if self.epsg != 4326:
            return lonlat_from_utm(x[None, :], y[:, None], self.epsg)
        xx, yy = np.meshgrid(x, np.clip(y, -90.0, 90.0))
        return xx, yy

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


def enclosing(window: Window, spacing: int) -> Window:
    """The knots, one every `spacing` pixels, that enclose a window and bilinear interpolation in it, as a window."""
    column, row = window.column // spacing, window.row // spacing
    width = -(-(window.column + window.width - 1) // spacing) - column + 2
    height = -(-(window.row + window.height - 1) // spacing) - row + 2
    return Window(column, row, width, height)


def covered(knots: Window, spacing: int) -> Window:
    """The pixels from the first of the knots on, `spacing` for each."""
    return Window(knots.column * spacing, knots.row * spacing, knots.width * spacing, knots.height * spacing)


@lru_cache(maxsize=1024)
def _along(start: int, size: int, spacing: int, dtype: np.dtype[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """For pixels [start, start + size): the number of the knot before each, and the part of the way to the next."""
    pixels = np.arange(start, start + size)
    return pixels // spacing - start // spacing, (np.arange(spacing) / spacing).astype(dtype)[pixels % spacing]


def spread(values: NDArray[Any], window: Window, spacing: int) -> NDArray[Any]:
    """Bilinear values (..., height, width), in the dtype of `values`, from values at the knots of `enclosing`."""
    if spacing == 1:
        return values[..., : window.height, : window.width]
    before, part = _along(window.column, window.width, spacing, values.dtype)
    across = (values[..., 1:] - values[..., :-1]).take(before, axis=-1)
    across *= part
    across += values.take(before, axis=-1)
    down = np.empty((*across.shape[:-2], across.shape[-2] - 1, spacing, window.width), values.dtype)
    part = _along(0, spacing, spacing, values.dtype)[1][:, None]
    # One large field at a time, so that the product is still in the processor's cache for the addition.
    fields = [(across, down)] if down.size <= _SMALL else zip(_planes(across, 2), _planes(down, 3), strict=True)
    for field, out in fields:
        np.multiply((field[..., 1:, :] - field[..., :-1, :])[..., None, :], part, out=out)
        out += field[..., :-1, None, :]
    skip = window.row % spacing
    return down.reshape(*values.shape[:-2], -1, window.width)[..., skip : skip + window.height, :]


def _planes(values: NDArray[Any], axes: int) -> NDArray[Any]:
    """The same array with all but its last `axes` axes merged into one."""
    return values.reshape(-1, *values.shape[-axes:])


def knot_lonlat(lattice: Lattice, window: Window) -> F64:
    """Exact lon and lat at the knots that enclose a window, (2, rows, columns) float64, degrees (do not modify)."""
    return _knots(lattice, window)[:2]


def knot_positions(lattice: Lattice, window: Window) -> F64:
    """Earth-centred metres (3, rows, columns) float64 at the same knots (do not modify)."""
    return _knots(lattice, window)[2:]


def _knots(lattice: Lattice, window: Window) -> F64:
    """Longitude, latitude and position, (5, rows, columns), at the knots that enclose a window."""
    knots, key = enclosing(window, lattice.knot), replace(lattice, step=1)
    known = _KNOTS.around(key, knots)
    # With a margin, as other layers of a chip read a little more.
    wide = known[0] if known else widened(knots, 2)
    values = known[1] if known else _KNOTS.keep(key, wide, _computed_knots(lattice, wide))
    return values[:, *cutting(wide, knots)]


def _computed_knots(lattice: Lattice, knots: Window) -> F64:
    columns, rows = np.arange(float(knots.width)) + knots.column, np.arange(float(knots.height)) + knots.row
    lon, lat = lattice.lonlat(columns * lattice.knot, rows * lattice.knot)
    return np.stack([lon, lat, *earth_centred(lon, lat)])


def pixel_positions(lattice: Lattice, window: Window) -> F64:
    """Earth-centred metres (3, height, width) float64 of pixel centres, to a few centimetres."""
    return spread(knot_positions(lattice, window), window, lattice.knot)
