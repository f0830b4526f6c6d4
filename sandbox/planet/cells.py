"""What lies in the cells of coarse layers: pixels of the ground, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.equal_area import EqualArea
from sandbox.planet.ground import Ground, Surface
from sandbox.planet.lattice import Lattice
from sandbox.planet.materials import MATERIALS, M
from sandbox.raster.stored import Window

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

# WorldCover's pixels of 1/12000 degree, and those of twice their size.
FINE = Lattice(4326, 1 / 12000, -1 / 12000, -180.0, 90.0, step=8)
COARSE = Lattice(4326, 1 / 6000, -1 / 6000, -180.0, 90.0, step=4)
_BLOCK = 32  # cells: what is counted at a time
OPEN_SEA = len(MATERIALS)  # counted behind the materials: what WorldCover does not map
Weight = Callable[[Ground], F32]


@dataclass(frozen=True)
class Squares:
    """Cells of `size` by `size` pixels of `FINE`."""

    size: int

    def under(self, surface: Surface, window: Window) -> tuple[Ground, NDArray[np.int64]]:
        """The ground under the cells of a window, and the number of the cell (row by row) that each pixel is in."""
        size = self.size
        fine = Window(window.column * size, window.row * size, window.width * size, window.height * size)
        rows, columns = np.arange(fine.height) // size, np.arange(fine.width) // size
        return surface.ground(FINE, fine), rows[:, None] * window.width + columns


@dataclass(frozen=True)
class MapCells:
    """Cells of an equal-area map: a pixel of a lattice of degrees is in the cell that holds its middle."""

    area: EqualArea
    pixels: Lattice

    def under(self, surface: Surface, window: Window) -> tuple[Ground, NDArray[np.int64]]:
        """As `Squares.under`; pixels that are in no cell of the window have the number behind the last."""
        fine = self._around(window)
        step = self.pixels.dx
        columns = np.arange(fine.column, fine.column + fine.width, dtype=np.float64)
        rows = np.arange(fine.row, fine.row + fine.height, dtype=np.float64)
        lon, lat = np.asarray((columns + 0.5) * step - 180.0), np.asarray(90.0 - (rows + 0.5) * step)
        column, row = self.area.cells(lon, lat)
        column, row = column - window.column, row - window.row
        inside = (column >= 0) & (column < window.width) & (row >= 0) & (row < window.height)
        number = np.where(inside, row * window.width + column, window.width * window.height)
        return surface.ground(self.pixels, fine), number

    def _around(self, window: Window) -> Window:
        """The pixels around the cells of a window."""
        west, south, east, north = self.area.bounds(window)
        per_degree = round(1 / self.pixels.dx)
        left, right = int(np.floor((west + 180) * per_degree)), int(np.ceil((east + 180) * per_degree))
        top, bottom = int(np.floor((90 - north) * per_degree)), int(np.ceil((90 - south) * per_degree))
        return Window(left, top, max(right - left, 1), max(bottom - top, 1))


def shares(surface: Surface, cells: Squares | MapCells, window: Window, weight: Weight | None = None) -> F64:
    """How much of each cell is of each material, (materials + open sea, height, width) float64.

    Pixels count 1, or what `weight` says of them; all are divided by the number of pixels in the cell, and cells
    without a pixel are NaN.
    """
    result = np.empty((OPEN_SEA + 1, window.height, window.width))
    for part, rows, columns in _blocks(window):
        result[:, rows, columns] = _counted(surface, cells, part, weight)
    return result


def _blocks(window: Window) -> Iterator[tuple[Window, slice, slice]]:
    """The window in parts, each with its place in it."""
    for y in range(0, window.height, _BLOCK):
        for x in range(0, window.width, _BLOCK):
            height, width = min(_BLOCK, window.height - y), min(_BLOCK, window.width - x)
            yield Window(window.column + x, window.row + y, width, height), slice(y, y + height), slice(x, x + width)


def _counted(surface: Surface, cells: Squares | MapCells, window: Window, weight: Weight | None) -> F64:
    ground, number = cells.under(surface, window)
    count, kinds = window.width * window.height, OPEN_SEA + 1
    kind = np.where((ground.material == M["water"]) & (ground.height_m < -30), OPEN_SEA, ground.material)
    weights = None if weight is None else weight(ground).ravel().astype(np.float64)
    sums = np.bincount((number * kinds + kind).ravel(), weights, (count + 1) * kinds)[: count * kinds]
    pixels = np.bincount(number.ravel(), minlength=count + 1)[:count]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.reshape(count, kinds) / pixels[:, None]
    return np.ascontiguousarray(mean.T.reshape(kinds, window.height, window.width))
