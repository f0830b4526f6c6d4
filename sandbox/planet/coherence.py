"""Seasonal Sentinel-1 coherence in one-degree tiles of 3 arc seconds, after materials, season and interval."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import box

from sandbox.planet import cells
from sandbox.planet.cells import Squares
from sandbox.planet.geometry import lonlat_boxes
from sandbox.planet.ground import Ground, Surface, byte_noise
from sandbox.planet.lattice import Lattice
from sandbox.planet.materials import MATERIALS
from sandbox.planet.noise import hash_unit
from sandbox.planet.raster import Extent, LazyImage, PlanetBand
from sandbox.planet.recent import Recent, cutting
from sandbox.planet.season import phase_after_midwinter, season_of
from sandbox.planet.sentinel1 import Radar
from sandbox.planet.timeline import DAY_MS, day_of, year_phase
from sandbox.raster.stored import Query, QueryTooLarge, StoredImage, Valid, Values, Window

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

COLLECTION = "Earth_Big_Data/GLOBAL_SEASONAL_S1/V2019/COHERENCE"
# The middle of each season, by its northern name.
SEASONS = {"winter": (2020, 1), "spring": (2020, 4), "summer": (2020, 7), "fall": (2020, 10)}
_REPEATED, _BOTH_SATELLITES = (12, 24, 36, 48), (6, 18)
_LATTICE = Lattice(4326, 1 / 1200, -1 / 1200, -180.0, 90.0)
_CELLS, _TILE_PX = Squares(10), 1200
_NORTH, _SOUTH = 82, -78
# By material: coherence of no interval at all, the part of it that time does not take, days in which the rest falls to
# 1/e, and how much of it full growth takes.
_BY_MATERIAL = {
    "broadleaf": (0.70, 0.10, 8, 0.5), "conifer": (0.70, 0.12, 8, 0.1), "shrub": (0.75, 0.30, 20, 0.3),
    "grass": (0.78, 0.24, 18, 0.35), "crop": (0.80, 0.15, 15, 0.5), "roof": (0.86, 0.60, 70, 0.0),
    "street": (0.80, 0.50, 60, 0.0), "sand": (0.82, 0.55, 90, 0.0), "rock": (0.84, 0.60, 90, 0.0),
    "snow": (0.60, 0.05, 8, 0.0), "water": (0.0, 0.0, 1, 0.0), "wetland": (0.65, 0.10, 9, 0.4),
    "mangrove": (0.65, 0.08, 6, 0.1), "moss": (0.78, 0.35, 25, 0.2), "hedge": (0.72, 0.12, 9, 0.5),
}  # fmt: skip
_FIRST, _LASTING, _DAYS, _LEAFY = np.array([_BY_MATERIAL[name] for name in MATERIALS], dtype=np.float32).T
# What the estimate gives where there is none, as few looks do.
_FLOOR, _SNOW_TAKES, _SCATTER = 0.10, 0.6, 0.03


class Coherence:
    """The tiles. Thread-safe."""

    def __init__(self, seed: int, surface: Surface, radar: Radar) -> None:
        self._seed, self._surface, self._radar = seed, surface, radar
        self._kept: Recent[F64] = Recent(64, 256 * 256)

    def find(self, query: Query) -> list[StoredImage]:
        """The tiles that intersect a region, by system:index.

        Raises:
            QueryTooLarge: the query has no region, or it intersects more than 5,000 tiles.
        """
        if query.region is None:
            raise QueryTooLarge("coherence without a region holds more than 5,000 tiles")
        corners = {corner for bounds in lonlat_boxes(query.region) for corner in _corners(*bounds)}
        found = [image for north, west in corners if (image := self.tile(north, west)) is not None]
        return sorted(found, key=lambda image: str(image.properties["system:index"]))

    def named(self, index: str) -> StoredImage | None:
        """The tile with a system:index such as N48W090, or None."""
        try:
            north, west = int(index[1:3]) * (-1 if index[0] == "S" else 1), int(index[4:]) * (-1 if "W" in index else 1)
        except (IndexError, ValueError):
            return None
        return self.tile(north, west) if tile_id(north, west) == index else None

    def tile(self, north: int, west: int) -> StoredImage | None:
        """The tile below and to the right of a corner in degrees; None without land or where no radar looks."""
        middle = west + 0.5, north - 0.5
        if not _SOUTH < north <= _NORTH or not -180 <= west < 180:
            return None
        if not self._surface.world.has_land(*middle, 0.6) or not any(self._radar.plan(*middle)):
            return None
        index = tile_id(north, west)
        properties = {
            "system:index": index,
            "system:time_start": day_of(2019, 12, 1) * DAY_MS,
            "system:time_end": day_of(2020, 12, 1) * DAY_MS,
            "tile_id": index,
        }
        footprint = box(west, north - 1, west + 1, north)
        return LazyImage(f"{COLLECTION}/{index}", properties, footprint, partial(self._bands, north, west))

    def _bands(self, north: int, west: int) -> tuple[PlanetBand, ...]:
        extent = Extent(_LATTICE, (west + 180) * _TILE_PX, (90 - north) * _TILE_PX, _TILE_PX, _TILE_PX)
        polarisation, days = self._modes(north, west)
        return tuple(
            PlanetBand(
                f"{season}_{polarisation}_COH{day:02d}",
                np.dtype(np.float64),
                extent,
                partial(self._paint, season, day, north <= 0),
            )
            for season in SEASONS
            for day in days
        )

    def _modes(self, north: int, west: int) -> tuple[str, list[int]]:
        """The polarisation and the intervals of a tile: few places were seen by both satellites, or never after 36."""
        chance = [hash_unit(self._seed, north + 90, west + 180, key) for key in (61, 62, 63)]
        polar = chance[0] < np.clip((abs(north) - 66) / 8, 0, 1)
        days = [*_REPEATED, *(_BOTH_SATELLITES if chance[1] < 0.3 else ())]
        return ("hh" if polar else "vv"), sorted(day for day in days if day != 36 or chance[2] > 0.08)

    def _paint(self, season: str, days: int, southern: bool, window: Window) -> tuple[Values, Valid | None]:
        """Hundredths, as the product has them; 0, which is no mask, where there is only open sea."""
        parts = self._weighed(season, southern, window)
        kept = _LASTING + (1 - _LASTING) * np.exp(-days / _DAYS)
        true = np.tensordot(_FIRST * kept, parts[: cells.OPEN_SEA], axes=1)
        seed = self._seed * 97 + 1000 + 50 * list(SEASONS).index(season)
        noise = _SCATTER * (_uniform(seed, window) + 0.4 * _uniform(seed + days, window))
        hundredths = np.clip(np.round(100 * (_FLOOR + (1 - _FLOOR) * true + noise)), 1, 99)
        return np.where(parts[cells.OPEN_SEA + 1] > 0.5, 0.0, hundredths / 100), None

    def _weighed(self, season: str, southern: bool, window: Window) -> F64:
        """What growth and snow leave of each material in each cell, and behind it the part that is open sea."""
        key = (season, southern)
        known = self._kept.around(key, window)
        if known is not None:
            return known[1][:, *cutting(known[0], window)]
        phase = phase_after_midwinter(year_phase(day_of(*SEASONS[season], 15) * DAY_MS), southern)
        left = cells.shares(self._surface, _CELLS, window, partial(_left, phase))
        sea = cells.shares(self._surface, _CELLS, window)[cells.OPEN_SEA :]
        return self._kept.keep(key, window, np.concatenate([left, sea]))


def _left(phase: float, ground: Ground) -> F32:
    """What growth and snow leave of the coherence of each pixel."""
    season = season_of(ground, phase)
    left = 1 - _LEAFY.take(ground.material) * season.green
    return left if season.snow is None else left * (1 - np.float32(_SNOW_TAKES) * season.snow)


def _uniform(seed: int, window: Window) -> F64:
    """Between -1 and 1, for each cell by its index."""
    return byte_noise(seed, window) / 2.0**31 - 1


def tile_id(north: int, west: int) -> str:
    """A tile's name: that of its upper left corner, as the data set has it."""
    return f"{'N' if north >= 0 else 'S'}{abs(north):02d}{'E' if west >= 0 else 'W'}{abs(west):03d}"


def _corners(west: float, south: float, east: float, north: float) -> list[tuple[int, int]]:
    """Upper left corners of the tiles that a box of degrees touches."""
    columns = range(int(np.floor(west)), int(np.floor(min(east, west + 360))) + 1)
    rows = range(max(int(np.ceil(south)), -89), min(int(np.floor(north)) + 1, 90) + 1)
    if len(columns) * len(rows) > 5000:
        raise QueryTooLarge("the region touches more than 5,000 one-degree tiles")
    return [(row, (column + 180) % 360 - 180) for row in rows for column in columns]
