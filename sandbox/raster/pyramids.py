"""Pyramids of stored bands: levels of half the pixels each, of which a coarse request takes one (guides/scale).

Level k has pixels of 2**k native ones; levels end when the whole image fits into a tile of 256 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.raster import grids
from sandbox.raster.grids import PixelGrid
from sandbox.raster.resample import Pixels, rounded
from sandbox.raster.stored import Projection, Window

_TILE_PX = 256
_NEARLY = 1e-6  # a request of the level's own scale takes that level, whatever the rounding


def top_level(shape: tuple[int, int] | None) -> int:
    """The coarsest level of a band of (height, width) pixels; 0 for one without a size."""
    return 0 if shape is None else max(math.ceil(math.log2(max(*shape, _TILE_PX) / _TILE_PX)), 0)


def at_level(native: Projection, level: int) -> Projection:
    """The lattice of a level, with the corner of the native one."""
    a, b, c, d, e, f = native.transform
    return Projection(native.crs, (a * 2**level, b * 2**level, c, d * 2**level, e * 2**level, f))


def native_window(window: Window, level: int) -> Window:
    """The native pixels under a window of a level."""
    size = 2**level
    return Window(window.column * size, window.row * size, window.width * size, window.height * size)


def steps_in(grid: PixelGrid, crs: str) -> tuple[float, float]:
    """How far one pixel of a grid reaches along x and y of another CRS, in its units; at the middle of the grid."""
    a, b, _, d, e, _ = grid.transform
    if grid.crs == crs:
        return math.hypot(a, b), math.hypot(d, e)
    column, row = grid.width / 2, grid.height / 2
    across, down = np.array([column, column + 1, column]), np.array([row, row, row + 1])
    x, y = grids.transformer(grid.crs, crs).transform(*grids.apply(grid.transform, across, down))
    dx = (x[1:] - x[0] + 180) % 360 - 180 if grids.geographic(crs) else x[1:] - x[0]
    return math.hypot(*dx), math.hypot(*(y[1:] - y[0]))


def level_of(steps: tuple[float, float], native: Projection, top: int) -> int:
    """The level that a request with pixels of these steps takes: the coarsest whose pixels are no larger.

    The longer side of a pixel decides: beyond some 57 degrees one of 10 m is longer than two of 1/12000 degree.
    """
    a, b, _, d, e, _ = native.transform
    times = max(steps[0] / math.hypot(a, b), steps[1] / math.hypot(d, e))
    return min(int(math.log2(times) + _NEARLY), top) if math.isfinite(times) and times > 1 else 0


def reduced(values: NDArray[Any], valid: NDArray[np.bool_], level: int, policy: str) -> Pixels:
    """Pixels of a level from the native ones under them (sizes are multiples of 2**level), one level at a time."""
    for _ in range(level):
        values, valid = _REDUCE[policy](_quarters(values), _quarters(valid))
    return values, valid


def _quarters(pixels: NDArray[Any]) -> NDArray[Any]:
    """(4, height / 2, width / 2): the four pixels of each block, the upper left one first."""
    return np.stack([pixels[row::2, column::2] for row in (0, 1) for column in (0, 1)])


def _mean(values: NDArray[Any], valid: NDArray[np.bool_]) -> Pixels:
    count = valid.sum(axis=0)
    total = np.where(valid, values, 0).astype(np.float64).sum(axis=0)
    return rounded(total / np.maximum(count, 1), values.dtype), count > 0


def _mode(values: NDArray[Any], valid: NDArray[np.bool_]) -> Pixels:
    """The most frequent of the valid values, the smallest of equally frequent ones."""
    counts = ((values[:, None] == values[None]) & valid[None]).sum(axis=1) * valid
    most = counts.max(axis=0)
    best = np.where(counts == most, values, values.max(axis=0)).min(axis=0)
    return best.astype(values.dtype), most > 0


def _sample(values: NDArray[Any], valid: NDArray[np.bool_]) -> Pixels:
    return values[0], valid[0]


_REDUCE: dict[str, Callable[[NDArray[Any], NDArray[np.bool_]], Pixels]] = {
    "mean": _mean, "mode": _mode, "sample": _sample,
}  # fmt: skip
POLICIES = tuple(_REDUCE)
