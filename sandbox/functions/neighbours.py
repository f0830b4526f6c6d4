"""Pixels from their neighbours: focal filters, and the distance to the nearest pixel that is not 0.

Radii in pixels are pixels of the grid that is asked for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.errors import EarthEngineError
from sandbox.functions import reducers
from sandbox.functions.images import Image, ImageBand
from sandbox.functions.reducers import Reducer
from sandbox.functions.scope import Scope
from sandbox.raster import grids
from sandbox.raster.grids import PixelGrid
from sandbox.raster.resample import Pixels
from sandbox.raster.stored import Window
from sandbox.registry import algorithm

_MOST_VALUES = 100_000_000  # of a filter's stack
_CLOSE = 1e-9


def _around(band: ImageBand, grid: PixelGrid, scope: Scope, margin: int) -> Pixels:
    """The band's pixels on a grid with `margin` more on each side."""
    wider = Window(-margin, -margin, grid.width + 2 * margin, grid.height + 2 * margin)
    return band.pixels(grids.window_grid(grid.projection, wider), scope)


def _offsets(radius: float, kernel: str) -> list[tuple[int, int]]:
    """(row, column) of a kernel's pixels relative to its centre."""
    inside = {
        "circle": lambda dy, dx: dy * dy + dx * dx <= radius * radius + _CLOSE,
        "square": lambda dy, dx: True,
        "diamond": lambda dy, dx: abs(dy) + abs(dx) <= radius + _CLOSE,
        "plus": lambda dy, dx: dy == 0 or dx == 0,
    }
    if kernel not in inside:
        raise EarthEngineError(f"The sandbox has no focal kernel '{kernel}', only {', '.join(inside)}.")
    reach = range(-int(radius), int(radius) + 1)
    return [(dy, dx) for dy in reach for dx in reach if inside[kernel](dy, dx)]


def _filtered(band: ImageBand, reducer: Reducer, radius: float, kernel: str, meters: bool) -> ImageBand:
    def compute(grid: PixelGrid, scope: Scope) -> Pixels:
        reach = radius / grids.nominal_scale_m(grid.projection) if meters else radius
        offsets, margin = _offsets(reach, kernel), int(reach)
        if len(offsets) * grid.width * grid.height > _MOST_VALUES:
            raise EarthEngineError("User memory limit exceeded.")
        stacks = [_shifted(array, offsets, margin, grid) for array in _around(band, grid, scope, margin)]
        return reducer.reduce(stacks[0], stacks[1], np.ones(stacks[0].shape))[0]

    return replace(band, dtype=reducer.dtype_for(band.dtype), compute=compute)


def _shifted(array: NDArray[Any], offsets: list[tuple[int, int]], margin: int, grid: PixelGrid) -> NDArray[Any]:
    """The array as every offset sees it, (offsets, height, width)."""
    height, width = grid.shape
    return np.stack([
        array[margin + dy : margin + dy + height, margin + dx : margin + dx + width] for dy, dx in offsets
    ])  # fmt: skip


def _register(name: str, reducer: Reducer) -> None:
    @algorithm(f"Image.focal_{name}", f"Image.focal{name.capitalize()}")
    def focal(image: Image, radius: float, kernel_type: str, units: str, iterations: int, kernel: Any) -> Image:
        if kernel is not None:
            raise EarthEngineError(f"Image.focal_{name}: The sandbox does not implement 'kernel'; give a kernelType.")
        bands = list(image.bands)
        for _ in range(iterations):
            bands = [_filtered(band, reducer, radius, kernel_type, units == "meters") for band in bands]
        return image.with_bands(bands)


for _name, _reducer in {
    "min": reducers.MIN, "max": reducers.MAX, "mean": reducers.MEAN, "median": reducers.MEDIAN, "mode": reducers.MODE,
}.items():  # fmt: skip
    _register(_name, _reducer)


@algorithm("Image.fastDistanceTransform")
def distance_transform(image: Image, neighborhood: int, units: str, metric: str) -> Image:
    """The squared distance in pixels to the nearest pixel that is not 0, at most `neighborhood` away per axis."""
    if (units, metric) != ("pixels", "squared_euclidean"):
        raise EarthEngineError("Image.fastDistanceTransform: The sandbox knows squared_euclidean in pixels only.")
    band = image.bands[0]

    def compute(grid: PixelGrid, scope: Scope) -> Pixels:
        values, valid = _around(band, grid, scope, neighborhood)
        squared = _squared_distances(valid & (values != 0), neighborhood)
        return squared, np.isfinite(squared)

    return replace(image, bands=(ImageBand("distance", np.dtype(np.float64), band.projection, compute),))


def _squared_distances(near: NDArray[np.bool_], reach: int) -> NDArray[np.float64]:
    """Squared distances of all pixels but a margin of `reach`; infinite beyond the reach."""
    along = np.minimum(_since(near), _since(near[:, ::-1])[:, ::-1])[:, reach : near.shape[1] - reach]
    along = np.where(along > reach, np.inf, along**2)
    height = len(near) - 2 * reach
    best = along[reach : reach + height]
    for dy in range(1, reach + 1):
        above, below = along[reach - dy : reach - dy + height], along[reach + dy : reach + dy + height]
        best = np.minimum(best, np.minimum(above, below) + dy * dy)
    return best


def _since(near: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How many columns ago each row last had a pixel that counts; infinite before the first."""
    columns = np.arange(near.shape[1], dtype=np.float64)
    return columns - np.maximum.accumulate(np.where(near, columns, -np.inf), axis=1)
