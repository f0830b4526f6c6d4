"""ERA5-Land months: temperature and rain of the climate, plus weather that differs between years."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.geodesy import earth_centred
from sandbox.planet.lattice import Lattice
from sandbox.planet.noise import Noise
from sandbox.planet.raster import Extent, PlanetBand
from sandbox.planet.timeline import DAY_MS, day_of, moment
from sandbox.planet.world import CHANNELS, World
from sandbox.raster.stored import Query, StoredImage, Valid, Values, Window

F32 = NDArray[np.float32]

COLLECTION = "ECMWF/ERA5_LAND/MONTHLY_AGGR"
BANDS = ("temperature_2m", "temperature_2m_min", "temperature_2m_max", "total_precipitation_sum")
_FIRST, _LAST = (1950, 2), (2025, 12)
_LATTICE = Lattice(4326, 0.1, -0.1, -180.05, 90.05, knot=1, step=1)
_EXTENT = Extent(_LATTICE, 0, 0, 3601, 1801)
_CACHED_CELLS = 64
_C = {name: k for k, name in enumerate(CHANNELS)}


class Months:
    """The monthly aggregates. Thread-safe."""

    def __init__(self, seed: int, world: World, noise: Noise) -> None:
        self._seed, self._world, self._noise = seed, world, noise
        self._month = lru_cache(maxsize=1024)(self._make_month)
        self._climate = _cached_if_small(self._climate_of)
        self._years = lru_cache(maxsize=4096)(self._weather_of)
        self._wave = _cached_if_small(_wave_of)

    def find(self, query: Query) -> list[StoredImage]:
        """The months that start in the query's period."""
        first, end = _FIRST[0] * 12 + _FIRST[1] - 1, _LAST[0] * 12 + _LAST[1]
        low = first if query.start_ms is None else max(first, _first_month_from(query.start_ms))
        high = end if query.end_ms is None else min(end, _first_month_from(query.end_ms))
        return [self._month(k // 12, k % 12 + 1) for k in range(low, high)]

    def named(self, index: str) -> StoredImage | None:
        """The month of a system:index such as 201906, or None."""
        if len(index) != 6 or not index.isdigit():
            return None
        year, month = int(index[:4]), int(index[4:])
        if not 1 <= month <= 12 or not _FIRST <= (year, month) <= _LAST:
            return None
        return self._month(year, month)

    def _make_month(self, year: int, month: int) -> StoredImage:
        start = _start_ms(year, month)
        properties = {
            "system:index": f"{year}{month:02d}",
            "system:time_start": start,
            "system:time_end": _start_ms(year + month // 12, month % 12 + 1),
            "year": year,
            "month": month,
        }
        bands = tuple(
            PlanetBand(name, np.dtype(np.float32), _EXTENT, partial(self._paint, name, year, month)) for name in BANDS
        )
        return StoredImage(f"{COLLECTION}/{year}{month:02d}", bands, properties)

    def _paint(self, name: str, year: int, month: int, window: Window) -> tuple[Values, Valid | None]:
        climate, wave = self._climate(window), self._wave(window, month)
        weather = self._weather(window, year, month)
        land = climate[_C["height_m"]] > 0
        if name == "total_precipitation_sum":
            return self._rain(climate, wave, weather[1]), land
        return self._temperature(name, climate, wave, weather[0]), land

    def _climate_of(self, window: Window) -> F32:
        return self._world.sample(*_lonlat(window))

    def _weather(self, window: Window, year: int, month: int) -> F32:
        """Two fields (2, height, width) of deviation 1 for the month: temperature and rain anomalies."""
        if window.width * window.height <= _CACHED_CELLS:
            # Most clients read a whole year at one location, and twelve months together cost little more than one.
            return np.asarray(self._years(window, year, 1, 12)[month - 1])
        return np.asarray(self._weather_of(window, year, month, 1)[0])

    def _weather_of(self, window: Window, year: int, month: int, months: int) -> F32:
        """The fields of consecutive months (months, 2, height, width)."""
        lon, lat = _lonlat(window)
        positions = earth_centred(lon, lat).reshape(3, -1)
        seeds = self._seed * 13 + (year * 12 + month) * 2 + np.arange(2 * months)
        fields = self._noise.smooth(positions, np.tile([2.1e6, 1.4e6], months), seeds)
        return fields.reshape(months, 2, *lon.shape)

    def _temperature(self, name: str, climate: F32, wave: F32, anomaly: F32) -> F32:
        height = np.maximum(climate[_C["height_m"]], 0)
        mean = climate[_C["sea_level_c"]] - np.float32(0.006) * height + climate[_C["amplitude_c"]] * wave
        mean = mean + anomaly * (np.float32(0.5) + climate[_C["amplitude_c"]] * np.float32(0.07))
        spread = np.float32(6) + np.clip(900 - climate[_C["rain_mm"]], 0, 900) * np.float32(0.006)
        offset = {"temperature_2m": 0.0, "temperature_2m_min": -1.0, "temperature_2m_max": 1.0}[name]
        return np.asarray(mean + np.float32(offset) * spread + np.float32(273.15), dtype=np.float32)

    def _rain(self, climate: F32, wave: F32, anomaly: F32) -> F32:
        share = (1 + climate[_C["rain_season"]] * wave) / 12
        odds = 1 + np.float32(0.85) * anomaly / (1 + np.float32(0.5) * np.abs(anomaly))
        return np.asarray(climate[_C["rain_mm"]] * share * np.maximum(odds, 0.02) * np.float32(1e-3), dtype=np.float32)


def _lonlat(window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    columns = np.arange(window.column, window.column + window.width, dtype=np.float64)
    rows = np.arange(window.row, window.row + window.height, dtype=np.float64)
    return _LATTICE.lonlat(columns, rows)


def _wave_of(window: Window, month: int) -> F32:
    """The seasonal temperature wave, -1 in the hemisphere's coldest month and 1 in its warmest."""
    _, lat = _lonlat(window)
    return -np.cos(2 * np.pi * ((month - 0.5) / 12 - 0.045 + np.where(lat < 0, 0.5, 0.0))).astype(np.float32)


def _cached_if_small(make: Callable[..., F32]) -> Callable[..., F32]:
    """`make(window, ...)`, cached for windows of a few cells: the bands and months of a location share the results."""
    cached = lru_cache(maxsize=4096)(make)

    def fields(window: Window, *arguments: int) -> F32:
        return (cached if window.width * window.height <= _CACHED_CELLS else make)(window, *arguments)

    return fields


def _first_month_from(time_ms: int) -> int:
    """The first month, counted from year 0, that starts at or after a time; times are clamped to the collection."""
    when = moment(min(max(time_ms, _start_ms(*_FIRST)), _start_ms(_LAST[0] + 1, 1)))
    month = when.year * 12 + when.month - 1
    return month if _start_ms(when.year, when.month) >= time_ms else month + 1


def _start_ms(year: int, month: int) -> int:
    return day_of(year, month, 1) * DAY_MS
