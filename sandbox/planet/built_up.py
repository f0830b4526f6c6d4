"""GHSL built-up surface (P2023A): square metres of roofs in cells of 100 m, every five years."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from sandbox.planet import cells
from sandbox.planet.cells import MapCells
from sandbox.planet.equal_area import MOLLWEIDE
from sandbox.planet.ground import Surface, byte_noise
from sandbox.planet.materials import M
from sandbox.planet.raster import PlanetBand
from sandbox.planet.recent import Recent, cutting
from sandbox.planet.timeline import DAY_MS, day_of
from sandbox.raster.stored import Query, StoredImage, Valid, Values, Window

F64 = NDArray[np.float64]

COLLECTION = "JRC/GHSL/P2023A/GHS_BUILT_S"
EPOCHS = tuple(range(1975, 2031, 5))
_CELL_M2 = 10_000
_SHARE_IN_1975 = 0.4  # of what stands in the last epoch


class BuiltUp:
    """The epochs. Thread-safe."""

    def __init__(self, seed: int, surface: Surface) -> None:
        self._seed, self._surface, self._cells = seed, surface, MapCells(MOLLWEIDE, cells.FINE)
        self._kept: Recent[F64] = Recent(64, 256 * 256)

    def find(self, query: Query) -> list[StoredImage]:
        """The epochs that start in the query's period."""
        found = [self._image(year) for year in EPOCHS]
        low = query.start_ms if query.start_ms is not None else -(1 << 62)
        high = query.end_ms if query.end_ms is not None else 1 << 62
        return [image for image in found if low <= image.properties["system:time_start"] < high]

    def named(self, index: str) -> StoredImage | None:
        """The epoch of a system:index such as 2020, or None."""
        return self._image(int(index)) if index in {str(year) for year in EPOCHS} else None

    def _image(self, year: int) -> StoredImage:
        properties = {
            "system:index": str(year),
            "system:time_start": day_of(year, 1, 1) * DAY_MS,
            "system:time_end": day_of(year + 1, 1, 1) * DAY_MS,
        }
        bands = tuple(
            PlanetBand(name, np.dtype(np.uint16), MOLLWEIDE.extent, partial(self._paint, name, year))
            for name in ("built_surface", "built_surface_nres")
        )
        return StoredImage(f"{COLLECTION}/{year}", bands, properties)

    def _paint(self, name: str, year: int, window: Window) -> tuple[Values, Valid | None]:
        """Square metres; the sea has none, and off the globe there is no cell."""
        roofs = self._roofs(window)
        grown = _SHARE_IN_1975 + (1 - _SHARE_IN_1975) * (year - EPOCHS[0]) / (EPOCHS[-1] - EPOCHS[0])
        built = np.nan_to_num(roofs) * grown * _CELL_M2
        if name == "built_surface_nres":
            built = built * np.maximum(byte_noise(self._seed * 71, window) / 2.0**31 - 1, 0)
        return np.round(built).astype(np.uint16), np.isfinite(roofs)

    def _roofs(self, window: Window) -> F64:
        """The part of each cell under roofs."""
        known = self._kept.around("cells", window)
        if known is not None:
            return known[1][cutting(known[0], window)]
        return self._kept.keep("cells", window, cells.shares(self._surface, self._cells, window)[M["roof"]])
