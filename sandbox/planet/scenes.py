"""The Sentinel-2 catalogue: scenes and their properties, computed from passes, never listed for the whole world."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from sandbox.planet.geometry import lonlat_boxes, touches
from sandbox.planet.mgrs import Tile, centre_of, tile_named, tiles_in
from sandbox.planet.noise import hash_int, hash_units
from sandbox.planet.passes import LAST_DAY, Flights, Strip, flights_of, strips_of
from sandbox.planet.sky import Weather
from sandbox.planet.timeline import DAY_MS, day_of, stamp
from sandbox.planet.world import CHANNELS, World
from sandbox.raster.stored import Query, QueryTooLarge

F64 = NDArray[np.float64]

_GLOBAL_L2A = day_of(2018, 12, 13)
_FIRST_L2A = day_of(2017, 3, 28)
_LIMIT = 5000
_MAX_TILES = 1500
_NAMES = ("S2A", "S2B")
_C = {name: k for k, name in enumerate(CHANNELS)}


@dataclass(frozen=True)
class Scene:
    """One acquisition of a tile from one orbit; Levels 1C and 2A have the same scenes."""

    strip: Strip
    day: int
    satellite: str
    start_ms: int
    datatake_ms: int
    cloudy_percent: float
    key: int = field(repr=False)
    draw: float = field(repr=False)

    @property
    def tile(self) -> Tile:
        return self.strip.tile

    @property
    def index(self) -> str:
        return f"{stamp(self.datatake_ms)}_{stamp(self.start_ms)}_T{tile_name(self.strip.tile)}"

    @property
    def has_surface(self) -> bool:
        """Whether Level 2A exists: everywhere from 2018-12-13, earlier mostly in Europe."""
        if self.day >= _GLOBAL_L2A:
            return self.draw < 0.995
        lon, lat = centre_of(self.strip.tile)
        european = -12 < lon < 40 and 34 < lat < 72
        return self.day >= _FIRST_L2A and self.draw < (0.95 if european else 0.12)

    @property
    def has_cloud_probability(self) -> bool:
        return hash_int(self.key, 3) % 1000 >= 30

    @property
    def weather(self) -> Weather:
        lon, lat = centre_of(self.strip.tile)
        north, west = (1500.0 if lat >= 0 else -1500.0) * min(abs(lat) / 40 + 0.25, 1.8), 620.0
        return Weather(hash_int(self.datatake_ms, 17) >> 24, self.cloudy_percent, _tangent(lon, lat, -west, -north))


@lru_cache(maxsize=4096)
def _tangent(lon: float, lat: float, east: float, north: float) -> tuple[float, float, float]:
    """An offset (east, north) in metres at a location, as Earth-centred components."""
    a, b = np.radians(lon), np.radians(lat)
    return (
        float(-np.sin(a) * east - np.sin(b) * np.cos(a) * north),
        float(np.cos(a) * east - np.sin(b) * np.sin(a) * north),
        float(np.cos(b) * north),
    )


@lru_cache(maxsize=65536)
def tile_name(tile: Tile) -> str:
    return tile.name


class SceneCatalog:
    """Finds scenes by region and time. Thread-safe (its caches are those of functools)."""

    def __init__(self, seed: int, world: World) -> None:
        self._seed = seed
        self._world = world
        self._climate = lru_cache(maxsize=8192)(self._climate_at)
        self._flown = lru_cache(maxsize=256)(self._all_flown)  # 35 kB each
        self._acquired = lru_cache(maxsize=16384)(self._is_acquired)

    def find(self, query: Query, most_cloudy: float = 100.0) -> list[Scene]:
        """Scenes that intersect the region, in the period and up to both cloud limits (percent), by system:index.

        Raises:
            QueryTooLarge: the query has no region or needs more than 5,000 scenes.
        """
        first, last = _period(query)
        strips: list[Strip] = []
        for strip in self._strips(query.region):
            strips.append(strip)
            # One pass every five days: a bound that is exact enough to reject a query before listing.
            if len(strips) * (last - first) / DAY_MS / 5 > 2 * _LIMIT:
                raise QueryTooLarge(f"{len(strips)} passes or more over the region give more than {_LIMIT} scenes")
        count = sum(stop - start for start, stop in (self._rows(strip, first, last) for strip in strips))
        if count > _LIMIT:
            raise QueryTooLarge(f"the query gives {count} scenes, more than {_LIMIT}")
        most = min([most_cloudy, *(most for name, most in query.property_at_most if name == "CLOUDY_PIXEL_PERCENTAGE")])
        scenes = [scene for strip in strips for scene in self.of_strip(strip, first, last, most)]
        scenes.sort(key=lambda scene: (scene.datatake_ms // 1000, scene.start_ms // 1000, tile_name(scene.strip.tile)))
        return scenes

    def named(self, index: str) -> Scene | None:
        """The scene with a system:index such as 20190604T102031_20190604T102024_T32TQM, or None."""
        parts = index.split("_")
        if len(parts) != 3 or len(parts[2]) != 6:
            return None
        tile = tile_named(parts[2][1:])
        if tile is None or not self._acquired(tile):
            return None
        try:
            day = day_of(int(parts[1][:4]), int(parts[1][4:6]), int(parts[1][6:8]))
        except ValueError:
            return None
        for strip in strips_of(tile):
            for scene in self.of_strip(strip, day * DAY_MS, (day + 1) * DAY_MS):
                if scene.index == index:
                    return scene
        return None

    def _strips(self, region: BaseGeometry | None) -> Iterator[Strip]:
        if region is None:
            raise QueryTooLarge("a Sentinel-2 collection without a region holds more than 5,000 scenes")
        seen: set[Tile] = set()
        for box in lonlat_boxes(region):
            for tile in tiles_in(*box):
                if tile in seen or not self._acquired(tile):
                    continue
                seen.add(tile)
                if len(seen) > _MAX_TILES:
                    raise QueryTooLarge(f"the region touches more than {_MAX_TILES} tiles")
                yield from (strip for strip in strips_of(tile) if touches(strip.footprint, region))

    def _is_acquired(self, tile: Tile) -> bool:
        lon, lat = centre_of(tile)
        return self._world.has_land(lon, lat, 0.75)

    def _climate_at(self, tile: Tile) -> tuple[float, float, float]:
        lon, lat = centre_of(tile)
        values = self._world.sample(np.array([lon]), np.array([lat]))
        return float(values[_C["clear"], 0]), float(values[_C["rain_season"], 0]), lat

    def of_strip(self, strip: Strip, first_ms: int, last_ms: int, most_cloudy: float = 100.0) -> list[Scene]:
        """A strip's scenes that start in [first_ms, last_ms), of up to this percentage of clouds."""
        flights, cloudy, draws = self._flown(strip)
        start, stop = self._rows(strip, first_ms, last_ms)
        rows = start + np.nonzero(cloudy[start:stop] <= most_cloudy)[0]
        columns = (flights.days, flights.satellites, flights.start_ms, flights.datatake_ms, cloudy, draws)
        key = strip.key
        return [
            Scene(strip, day, _NAMES[satellite], start_ms, datatake_ms, percent, key ^ (day << 20), draw)
            for day, satellite, start_ms, datatake_ms, percent, draw in zip(
                *(column[rows].tolist() for column in columns), strict=True
            )
        ]

    def _rows(self, strip: Strip, first_ms: int, last_ms: int) -> tuple[int, int]:
        """Which of a strip's flights start in [first_ms, last_ms): the first, and the one after the last."""
        start, stop = np.searchsorted(self._flown(strip)[0].start_ms, (first_ms, last_ms)).tolist()
        return start, stop

    def _all_flown(self, strip: Strip) -> tuple[Flights, F64, F64]:
        """All flights of a strip, their CLOUDY_PIXEL_PERCENTAGE, and a draw for each."""
        flights = flights_of(strip, self._seed)
        seed = self._seed + strip.key % (1 << 40)
        clear_draws, draws = (hash_units(seed + 9 + k, flights.days * 2 + k) for k in (0, 1))
        return flights, self._cloudiness(strip, flights.days, clear_draws), draws

    def _cloudiness(self, strip: Strip, days: NDArray[np.int64], draws: F64) -> F64:
        """CLOUDY_PIXEL_PERCENTAGE, (n,) float64: clear with the climate's probability (lower in the rainy season)."""
        clear, season, lat = self._climate(strip.tile)
        wave = -np.cos(2 * np.pi * ((days - 17) / 365.25 + (0.5 if lat < 0 else 0)))
        chance = np.clip(clear * (1 - 0.75 * season * wave), 0.002, 0.85)
        low = 10 * np.clip(draws / chance, 0, 1) ** 1.6
        rest = np.clip((draws - chance) / (1 - chance), 0, 1)
        return np.asarray(np.round(np.where(draws < chance, low, 10 + 90 * rest**0.62), 6))


def _period(query: Query) -> tuple[int, int]:
    first = query.start_ms if query.start_ms is not None else day_of(2016, 1, 1) * DAY_MS
    last = query.end_ms if query.end_ms is not None else (LAST_DAY + 1) * DAY_MS
    return first, max(first, min(last, (LAST_DAY + 1) * DAY_MS))


_BASELINES = (
    (2015, 6, "02.01"), (2017, 5, "02.05"), (2018, 11, "02.07"), (2020, 2, "02.09"), (2021, 4, "03.00"),
    (2022, 1, "04.00"), (2022, 12, "05.09"), (2023, 12, "05.10"),
)  # fmt: skip
_BASELINE_DAYS = [day_of(year, month, 1) for year, month, _ in _BASELINES]


def baseline(day: int) -> str:
    """The processing baseline on a day since 1970 (Sentinel-2 processing baseline history, ESA)."""
    return _BASELINES[bisect_right(_BASELINE_DAYS, day) - 1][2]


def properties_of(scene: Scene, level: str) -> dict[str, object]:
    """Earth Engine's properties of a scene of level "1C" or "2A"."""
    number, name = baseline(scene.day), tile_name(scene.strip.tile)
    compact = number.replace(".", "")
    taken, made = stamp(scene.datatake_ms), stamp(scene.start_ms + 4 * 3_600_000)
    product = f"{scene.satellite}_MSIL{level}_{taken}_N{compact}_R{scene.strip.orbit:03d}_T{name}_{made}"
    return {
        "system:index": f"{taken}_{stamp(scene.start_ms)}_T{name}",
        "system:time_start": scene.start_ms,
        "system:time_end": scene.start_ms,
        "CLOUDY_PIXEL_PERCENTAGE": scene.cloudy_percent,
        "CLOUD_COVERAGE_ASSESSMENT": scene.cloudy_percent,
        "MGRS_TILE": name,
        "SENSING_ORBIT_NUMBER": scene.strip.orbit,
        "SENSING_ORBIT_DIRECTION": "DESCENDING",
        "SPACECRAFT_NAME": "Sentinel-2" + scene.satellite[-1],
        "PRODUCT_ID": product,
        "GRANULE_ID": f"L{level}_T{name}_A{scene.day + 3:06d}_{stamp(scene.start_ms)}",
        "DATATAKE_IDENTIFIER": f"G{scene.satellite}_{taken}_{scene.day + 3:06d}_N{number}",
        "DATATAKE_TYPE": "INS-NOBS",
        "DATASTRIP_ID": f"S2_OPER_MSI_L{level}_DS_{made}_S{stamp(scene.start_ms)}_N{number}",
        "PROCESSING_BASELINE": number,
        "GENERAL_QUALITY": "PASSED",
        "GEOMETRIC_QUALITY": "PASSED",
        "RADIOMETRIC_QUALITY": "PASSED",
        "SENSOR_QUALITY": "PASSED",
        "FORMAT_CORRECTNESS": "PASSED",
        "GENERATION_TIME": scene.start_ms + 4 * 3_600_000,
        "MEAN_SOLAR_ZENITH_ANGLE": _solar_zenith(scene),
    }


def _solar_zenith(scene: Scene) -> float:
    _, lat = centre_of(scene.strip.tile)
    declination = math.radians(-23.44 * math.cos(2 * math.pi * (scene.day % 365.25 + 10) / 365.25))
    a, hour = math.radians(lat), math.radians(-22.5)
    cosine = math.sin(a) * math.sin(declination) + math.cos(a) * math.cos(declination) * math.cos(hour)
    return round(math.degrees(math.acos(max(-1.0, min(cosine, 1.0)))), 6)
