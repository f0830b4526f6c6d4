"""Layers that do not change with time: land cover, canopy height and the two elevation models."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from shapely.geometry import box

from sandbox.planet.geometry import lonlat_boxes
from sandbox.planet.ground import Surface
from sandbox.planet.lattice import Lattice
from sandbox.planet.materials import WORLDCOVER, M
from sandbox.planet.raster import Extent, PlanetBand
from sandbox.planet.timeline import DAY_MS, day_of
from sandbox.planet.world import World
from sandbox.raster.stored import Query, QueryTooLarge, StoredImage, Valid, Values, Window

WORLDCOVER_2020, WORLDCOVER_2021 = "ESA/WorldCover/v100", "ESA/WorldCover/v200"
CANOPY = "users/nlang/ETH_GlobalCanopyHeight_2020_10m_v1"
CANOPY_SD = "users/nlang/ETH_GlobalCanopyHeightSD_2020_10m_v1"
ASTER = "projects/sat-io/open-datasets/ASTER/GDEM"
GLO30 = "COPERNICUS/DEM/GLO30_2024_1"

_U8, _I16, _F32 = np.dtype(np.uint8), np.dtype(np.int16), np.dtype(np.float32)
_FINE = Lattice(4326, 1 / 12000, -1 / 12000, -180.0, 90.0, step=8)
_SECOND = Lattice(4326, 1 / 3600, -1 / 3600, -180.0, 90.0, step=2)
# Canopy by material: mean height (m), its variation, and the product's uncertainty; 0 without vegetation.
_TALL = np.array([21, 18, 2.5, 0.6, 0.4, 2.2, 1.0, 0.1, 0.1, 0, 0, 3.0, 9.5, 0.3, 8.5], dtype=np.float32)
_SPREAD = np.array([5.0, 4.6, 1.2, 0.5, 0.4, 2.0, 0.8, 0.1, 0.1, 0, 0, 1.6, 2.5, 0.3, 2.0], dtype=np.float32)
_UNSURE = np.array([6.5, 6.0, 3.4, 1.8, 1.6, 3.0, 2.4, 1.0, 1.2, 0.5, 0.5, 3.6, 4.5, 1.4, 4.2], dtype=np.float32)


def _span(lattice: Lattice, north: float, south: float) -> Extent:
    """All longitudes between two latitudes."""
    per_degree = round(1 / lattice.dx)
    return Extent(lattice, 0, round((90 - north) * per_degree), 360 * per_degree, round((north - south) * per_degree))


class Statics:
    """The static images. Thread-safe."""

    def __init__(self, surface: Surface, world: World) -> None:
        self._surface, self._world = surface, world

    def worldcover(self, year: int) -> StoredImage:
        """Classes 10 to 100; the two years have the same ground but other speckles, like the two product versions."""
        band = PlanetBand("Map", _U8, _span(_FINE, 82.75, -60.0), partial(self._cover, year), pyramid="mode")
        start = day_of(year, 1, 1) * DAY_MS
        properties = {
            "system:index": str(year),
            "system:time_start": start,
            "system:time_end": day_of(year + 1, 1, 1) * DAY_MS,
        }
        collection = WORLDCOVER_2020 if year == 2020 else WORLDCOVER_2021
        return StoredImage(f"{collection}/{year}", (band,), properties, box(-180, -60, 180, 82.75))

    def _cover(self, year: int, window: Window) -> tuple[Values, Valid | None]:
        ground = self._surface.ground(_FINE, window)
        cover = WORLDCOVER.take(ground.material)
        if year == 2021:
            cover[(cover == 20) & (ground.fine > 1.4)] = 30
        open_sea = (ground.material == M["water"]) & (ground.height_m < -30)
        return cover, ~open_sea

    def canopy(self) -> StoredImage:
        band = PlanetBand("b1", _U8, _span(_FINE, 84.0, -60.0), self._canopy)
        return StoredImage(CANOPY, (band,), {"system:index": CANOPY.split("/")[-1]}, box(-180, -60, 180, 84))

    def canopy_sd(self) -> StoredImage:
        band = PlanetBand("b1", _U8, _span(_FINE, 84.0, -60.0), self._canopy_sd)
        return StoredImage(CANOPY_SD, (band,), {"system:index": CANOPY_SD.split("/")[-1]}, box(-180, -60, 180, 84))

    def _canopy(self, window: Window) -> tuple[Values, Valid | None]:
        """Canopy height in metres; open water and ice are masked, as in the product."""
        ground = self._surface.ground(_FINE, window)
        vigour = np.clip(ground.rain_mm / 1400, 0.45, 1.5) * np.clip((ground.warmth_c + 14) / 24, 0.35, 1.3)
        height = _TALL.take(ground.material) * vigour + _SPREAD.take(ground.material) * ground.fine
        valid = (ground.material != M["water"]) & (ground.material != M["snow"])
        return np.clip(np.round(height), 0, 60).astype(np.uint8), valid

    def _canopy_sd(self, window: Window) -> tuple[Values, Valid | None]:
        ground = self._surface.ground(_FINE, window)
        unsure = _UNSURE.take(ground.material) * (1 + np.float32(0.12) * ground.fine)
        valid = (ground.material != M["water"]) & (ground.material != M["snow"])
        return np.clip(np.round(unsure), 0, 60).astype(np.uint8), valid

    def aster(self) -> StoredImage:
        band = PlanetBand("b1", _I16, _span(_SECOND, 83.0, -83.0), self._aster)
        return StoredImage(ASTER, (band,), {"system:index": "GDEM"}, box(-180, -83, 180, 83))

    def _aster(self, window: Window) -> tuple[Values, Valid | None]:
        """Elevation in whole metres; the sea is 0."""
        height = self._surface.height_m(_SECOND, window)
        return np.round(np.maximum(height, 0)).astype(np.int16), None

    def glo30_find(self, query: Query) -> list[StoredImage]:
        """The one-degree tiles with land that intersect a region, by system:index.

        Raises:
            QueryTooLarge: the query has no region, or it intersects more than 5,000 tiles.
        """
        if query.region is None:
            raise QueryTooLarge("the elevation model without a region holds more than 5,000 tiles")
        corners = {corner for bounds in lonlat_boxes(query.region) for corner in _degrees(*bounds)}
        images = [image for south, west in corners if (image := self.glo30_tile(south, west)) is not None]
        return sorted(images, key=lambda image: str(image.properties["system:index"]))

    def glo30_tile(self, south: int, west: int) -> StoredImage | None:
        """The tile with a south-west corner in degrees, or None if it has no land."""
        if not -90 <= south < 90 or not self._world.has_land(west + 0.5, south + 0.5, 0.6):
            return None
        lattice = Lattice(4326, _glo30_spacing(south) / 3600, -1 / 3600, -180.0, 90.0, step=2)
        wide = round(1 / lattice.dx)
        extent = Extent(lattice, (west + 180) * wide, (89 - south) * 3600, wide, 3600)
        index = _glo30_index(south, west)
        band = PlanetBand("DEM", _F32, extent, partial(self._glo30, lattice))
        properties = {"system:index": index, "system:time_start": day_of(2010, 12, 1) * DAY_MS}
        return StoredImage(f"{GLO30}/{index}", (band,), properties, box(west, south, west + 1, south + 1))

    def glo30_named(self, index: str) -> StoredImage | None:
        parts = index.split("_")
        try:
            south = int(parts[1][1:]) * (1 if parts[1][0] == "N" else -1)
            west = int(parts[3][1:]) * (1 if parts[3][0] == "E" else -1)
        except (IndexError, ValueError):
            return None
        return self.glo30_tile(south, west) if _glo30_index(south, west) == index else None

    def _glo30(self, lattice: Lattice, window: Window) -> tuple[Values, Valid | None]:
        return np.maximum(self._surface.height_m(lattice, window), 0), None


def _glo30_index(south: int, west: int) -> str:
    """The system:index of a tile: the product's tile name without the common prefix."""
    ns, ew = ("N" if south >= 0 else "S"), ("E" if west >= 0 else "W")
    return f"DEM_{ns}{abs(south):02d}_00_{ew}{abs(west):03d}_00"


def _glo30_spacing(south: int) -> float:
    """Arc seconds of longitude per pixel (Copernicus DEM product handbook, table of latitude bands)."""
    absolute = max(abs(south), abs(south + 1))
    steps = ((50, 1.0), (60, 1.5), (70, 2.0), (80, 3.0), (85, 5.0))
    return next((seconds for limit, seconds in steps if absolute <= limit), 10.0)


def _degrees(west: float, south: float, east: float, north: float) -> Iterator[tuple[int, int]]:
    columns = range(int(np.floor(west)), int(np.floor(min(east, west + 360))) + 1)
    rows = range(max(int(np.floor(south)), -90), min(int(np.floor(north)), 89) + 1)
    if len(columns) * len(rows) > 5000:
        raise QueryTooLarge("the region touches more than 5,000 one-degree tiles")
    for row in rows:
        for column in columns:
            yield row, (column + 180) % 360 - 180
