"""MODIS vegetation continuous fields (MOD44B): percent of trees and of other plants in cells of 250 m, by year."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from sandbox.planet import cells
from sandbox.planet.cells import MapCells
from sandbox.planet.equal_area import SINUSOIDAL
from sandbox.planet.ground import Surface, byte_noise
from sandbox.planet.lattice import covered, enclosing
from sandbox.planet.materials import MATERIALS, M
from sandbox.planet.raster import PlanetBand
from sandbox.planet.recent import Recent, cutting
from sandbox.planet.timeline import DAY_MS, day_of, moment
from sandbox.raster.stored import Query, StoredImage, Valid, Values, Window

F64 = NDArray[np.float64]

COLLECTION = "MODIS/061/MOD44B"
BANDS = (
    "Percent_Tree_Cover", "Percent_NonTree_Vegetation", "Percent_NonVegetated", "Quality", "Percent_Tree_Cover_SD",
    "Percent_NonVegetated_SD", "Cloud",
)  # fmt: skip
WATER, FILL = 200, 253
FIRST, LAST = 2000, 2024
_PRODUCT_DAY = 64  # days after 1 January: the year begins on day 65
_FILL_CELLS = 4  # fill comes in squares of so many cells
_MOST_TREES = 87  # the product gives no more
# Percent of trees and of other plants by material.
_PLANTS = {
    "broadleaf": (80, 16), "conifer": (74, 20), "shrub": (12, 62), "grass": (4, 84), "crop": (6, 82), "roof": (4, 14),
    "street": (4, 18), "sand": (0, 4), "rock": (0, 9), "snow": (0, 0), "water": (0, 0), "wetland": (14, 74),
    "mangrove": (70, 24), "moss": (1, 60), "hedge": (55, 40),
}  # fmt: skip
_TABLE = np.array([_PLANTS[name] for name in MATERIALS], dtype=np.float64).T


class TreeCover:
    """The yearly images. Thread-safe."""

    def __init__(self, seed: int, surface: Surface) -> None:
        self._seed, self._surface, self._cells = seed, surface, MapCells(SINUSOIDAL, cells.COARSE)
        self._kept: Recent[F64] = Recent(64, 256 * 256)

    def find(self, query: Query) -> list[StoredImage]:
        """The images that start in the query's period."""
        found = [self._image(year) for year in range(FIRST, LAST + 1)]
        low = query.start_ms if query.start_ms is not None else 0
        high = query.end_ms if query.end_ms is not None else 1 << 62
        return [image for image in found if low <= image.properties["system:time_start"] < high]

    def named(self, index: str) -> StoredImage | None:
        """The image of a system:index such as 2020_03_05, or None."""
        year = int(index[:4]) if index[:4].isdigit() else 0
        image = self._image(year) if FIRST <= year <= LAST else None
        return image if image and image.properties["system:index"] == index else None

    def _image(self, year: int) -> StoredImage:
        start, end = ((day_of(y, 1, 1) + _PRODUCT_DAY) * DAY_MS for y in (year, year + 1))
        index = f"{moment(start):%Y_%m_%d}"
        properties = {"system:index": index, "system:time_start": start, "system:time_end": end}
        byte = np.dtype(np.uint8)
        bands = tuple(
            PlanetBand(name, byte, SINUSOIDAL.extent, partial(self._paint, number, year))
            for number, name in enumerate(BANDS)
        )
        return StoredImage(f"{COLLECTION}/{index}", bands, properties)

    def _paint(self, number: int, year: int, window: Window) -> tuple[Values, Valid | None]:
        """Values with the product's codes in place, 200 and 253, which are no mask; off the globe there is none."""
        parts = self._shares(window)
        valid = np.isfinite(parts[0])
        values = np.round(self._percent(number, year, window, np.nan_to_num(parts))).astype(np.uint8)
        if number < 3:
            values[parts[M["water"]] + parts[cells.OPEN_SEA] > 0.5] = WATER
            values[_in_squares(self._seed * 31 + year, window) < 0.002] = FILL
        return values, valid

    def _percent(self, number: int, year: int, window: Window, parts: F64) -> F64:
        trees, plants = self._vegetation(year, window, parts)
        return (trees, plants, 100 - trees - plants, 0 * trees, 2 + trees / 10, 2 + plants / 20, 0 * trees)[number]

    def _vegetation(self, year: int, window: Window, parts: F64) -> tuple[F64, F64]:
        """Whole percent of the cell's land; from year to year they differ a little."""
        land = np.maximum(1 - parts[M["water"]] - parts[cells.OPEN_SEA], 1e-9)
        trees, plants = np.tensordot(_TABLE, parts[: cells.OPEN_SEA], axes=1) / land
        noise = byte_noise(self._seed * 53 + year, window) / 2.0**31 - 1
        trees = np.round(np.clip(trees + 0.06 * noise * (100 - trees) * (trees > 1), 0, _MOST_TREES))
        return np.asarray(trees), np.asarray(np.round(np.minimum(plants, 100 - trees)))

    def _shares(self, window: Window) -> F64:
        known = self._kept.around("cells", window)
        if known is not None:
            return known[1][:, *cutting(known[0], window)]
        return self._kept.keep("cells", window, cells.shares(self._surface, self._cells, window))


def _in_squares(seed: int, window: Window) -> F64:
    """A number in [0, 1) for each cell, the same in a square of cells."""
    squares = enclosing(window, _FILL_CELLS)
    each = byte_noise(seed, squares) / 2.0**32
    wide = covered(squares, _FILL_CELLS)
    spread = each.repeat(_FILL_CELLS, axis=0).repeat(_FILL_CELLS, axis=1)
    return np.asarray(spread[cutting(wide, window)])
