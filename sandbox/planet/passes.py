"""Sentinel-2 passes: which relative orbits cover which part of a tile, and on which days.

143 relative orbits in 10 days (ESA Sentinel-2 user handbook), descending, swath 290 km, local time about 10:30.
Everything is computed from the lattice of orbits and from hashes; nothing is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from sandbox.planet.geodesy import lonlat_from_utm
from sandbox.planet.geometry import footprint_of
from sandbox.planet.mgrs import TILE_M, Tile, centre_of, outline_of
from sandbox.planet.noise import hash_int, hash_units
from sandbox.planet.timeline import DAY_MS, day_of

F64 = NDArray[np.float64]

ORBITS = 143
CYCLE_DAYS = 10
_HALF_SWATH_M = 145_000.0
_INCLINATION = np.radians(98.62)
_DRIFT = 100.63 / 1436.07
_FIRST_A, _FIRST_B = day_of(2016, 1, 1), day_of(2017, 7, 3)
LAST_DAY = day_of(2025, 12, 31)


@dataclass(frozen=True)
class Strip:
    """The part of a tile that one relative orbit covers, between two straight lines in UTM.

    `west` and `east` are ((x, y), (x, y)) from the tile's top to its bottom, in metres.
    """

    tile: Tile
    orbit: int
    west: tuple[float, float]
    east: tuple[float, float]
    footprint: BaseGeometry = field(compare=False)
    whole: bool

    @property
    def key(self) -> int:
        return hash_int(self.tile.epsg, self.tile.east, self.tile.north, self.orbit)


@dataclass(frozen=True)
class Flights:
    """Acquisitions of a strip, (n,) int64 each: days since 1970, satellites (0 is S2A, 1 is S2B) and start times."""

    days: NDArray[np.int64]
    satellites: NDArray[np.int64]
    start_ms: NDArray[np.int64]
    datatake_ms: NDArray[np.int64]


def node_longitudes() -> F64:
    """Longitude of each relative orbit's descending node, (143,) float64, degrees."""
    return -7.3 - np.arange(ORBITS) * 360.0 * CYCLE_DAYS / ORBITS


def track_offset(lat: float) -> float:
    """Longitude difference in degrees between a descending track at a latitude and its node (spherical Earth)."""
    w = -np.arcsin(np.clip(np.sin(np.radians(lat)) / np.sin(_INCLINATION), -1, 1))
    return float(np.degrees(np.arctan2(np.cos(_INCLINATION) * np.sin(w), np.cos(w)) - w * _DRIFT))


def _centre_lines(tile: Tile) -> tuple[F64, F64]:
    """Easting (m) of each orbit's track at the top and at the bottom of the tile."""
    left, top = tile.origin_m
    x = left + TILE_M / 2
    lon, lat = lonlat_from_utm(np.array([x, x]), np.array([top, top - TILE_M]), tile.epsg)
    lines = []
    for k in range(2):
        away = (node_longitudes() + track_offset(float(lat[k])) - lon[k] + 180) % 360 - 180
        lines.append(x + away * 111_320 * np.cos(np.radians(lat[k])))
    return lines[0], lines[1]


@lru_cache(maxsize=4096)
def strips_of(tile: Tile) -> tuple[Strip, ...]:
    """Each orbit's part of a tile, except parts below 3 % of the tile."""
    tops, bottoms = _centre_lines(tile)
    left, _ = tile.origin_m
    near = np.minimum(np.abs(tops - left), np.abs(bottoms - left)) < _HALF_SWATH_M + 2 * TILE_M
    near &= _planned(centre_of(tile)[1])
    strips = (_strip(tile, int(k), float(tops[k]), float(bottoms[k])) for k in np.nonzero(near)[0])
    return tuple(s for s in strips if s is not None)


def _planned(lat: float) -> NDArray[np.bool_]:
    """Orbits that record at a latitude: all up to 55 degrees, fewer towards the poles, where swaths overlap."""
    share = min(1.0, float(np.cos(np.radians(lat))) / 0.57)
    return np.asarray(hash_units(12, np.arange(ORBITS)) < share)


def _strip(tile: Tile, number: int, top_x: float, bottom_x: float) -> Strip | None:
    _, top = tile.origin_m
    # The track is inclined, so its width along a parallel is slightly larger than across the track.
    half = _HALF_SWATH_M * float(np.hypot(1.0, (top_x - bottom_x) / TILE_M))
    west, east = (top_x - half, bottom_x - half), (top_x + half, bottom_x + half)
    band = Polygon([(west[0], top), (east[0], top), (east[1], top - TILE_M), (west[1], top - TILE_M)])
    seen = outline_of(tile).intersection(band)
    share = seen.area / TILE_M**2
    if share < 0.03:
        return None
    corners = np.asarray(seen.exterior.coords)[:-1]
    return Strip(tile, number + 1, west, east, footprint_of(corners, tile.epsg), share > 0.999999)


def flights_of(strip: Strip, seed: int) -> Flights:
    """All acquisitions in the order of their times: every 10 days, every 5 days with the second satellite."""
    phase = (strip.orbit - 1) * CYCLE_DAYS // ORBITS
    days = np.arange(_FIRST_A + (phase - _FIRST_A) % 5, LAST_DAY + 1, 5, dtype=np.int64)
    satellites = (days - phase) % CYCLE_DAYS // 5
    lon, lat = centre_of(strip.tile)
    local_h = (10.5 - lon / 15) % 24
    jitter_s = hash_units(seed + strip.orbit * 977 + 3, days) * 240
    # The datatake begins in the far north; the satellite moves one degree of latitude in about 17 s.
    datatake = days * DAY_MS + np.int64(local_h * 3.6e6) + (jitter_s * 1e3).astype(np.int64)
    datatake -= np.int64(_minutes_of(strip) * 1000)
    seconds = np.int64(max(83.5 - lat, 0) * 17_000)
    acquired = (satellites == 0) | (days >= _FIRST_B)
    acquired &= hash_units(seed + strip.key % (1 << 40), days) > 0.025
    acquired &= _sunlit(lat, days)
    return Flights(days[acquired], satellites[acquired], (datatake + seconds)[acquired], datatake[acquired])


def _sunlit(lat: float, days: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the sun is high enough at 10:30 local time: the mission does not record the polar night."""
    declination = np.radians(-23.44 * np.cos(2 * np.pi * (days % 365.25 + 10) / 365.25))
    a, hour = np.radians(lat), np.radians(-22.5)
    return np.asarray(np.sin(a) * np.sin(declination) + np.cos(a) * np.cos(declination) * np.cos(hour) > 0.06)


def _minutes_of(strip: Strip) -> float:
    _, lat = centre_of(strip.tile)
    return max(83.5 - lat, 0) * 17
