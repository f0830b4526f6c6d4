"""The planet at half a degree: continents, height, climate, biomes and the ground parameters that follow.

Finer layers add noise to these rasters; the rasters give its strength.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.geodesy import earth_centred
from sandbox.planet.noise import Noise

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]

STEP_DEG = 0.5
ROWS, COLUMNS = 360, 720
_BLOCK_POINTS = 4096

BIOME_NAMES = {
    1: "Tropical & Subtropical Moist Broadleaf Forests",
    2: "Tropical & Subtropical Dry Broadleaf Forests",
    3: "Tropical & Subtropical Coniferous Forests",
    4: "Temperate Broadleaf & Mixed Forests",
    5: "Temperate Conifer Forests",
    6: "Boreal Forests/Taiga",
    7: "Tropical & Subtropical Grasslands, Savannas & Shrublands",
    8: "Temperate Grasslands, Savannas & Shrublands",
    9: "Flooded Grasslands & Savannas",
    10: "Montane Grasslands & Shrublands",
    11: "Tundra",
    12: "Mediterranean Forests, Woodlands & Scrub",
    13: "Deserts & Xeric Shrublands",
    14: "Mangroves",
}
ROCK_AND_ICE = 15

CHANNELS = (
    "height_m", "rough", "sea_level_c", "amplitude_c", "rain_mm", "rain_season",
    "tree", "shrub", "grass", "crop", "wet", "people", "conifer", "mangrove", "clear",
)  # fmt: skip

# Ground cover fractions by biome: tree, shrub, grass (the rest is bare), crop suitability, wetland, conifer.
_GROUND = {
    0: (0.4, 0.1, 0.3, 0.3, 0.05, 0.3),
    1: (0.86, 0.03, 0.09, 0.30, 0.03, 0.0),
    2: (0.55, 0.17, 0.22, 0.50, 0.02, 0.0),
    3: (0.68, 0.12, 0.15, 0.25, 0.01, 0.9),
    4: (0.56, 0.03, 0.38, 0.62, 0.02, 0.2),
    5: (0.70, 0.06, 0.19, 0.15, 0.01, 0.95),
    6: (0.70, 0.07, 0.19, 0.06, 0.12, 0.9),
    7: (0.30, 0.24, 0.42, 0.32, 0.02, 0.0),
    8: (0.08, 0.12, 0.72, 0.60, 0.02, 0.2),
    9: (0.14, 0.08, 0.50, 0.18, 0.45, 0.0),
    10: (0.08, 0.20, 0.47, 0.10, 0.02, 0.7),
    11: (0.04, 0.16, 0.40, 0.0, 0.12, 0.9),
    12: (0.32, 0.30, 0.30, 0.50, 0.01, 0.5),
    13: (0.01, 0.17, 0.17, 0.07, 0.0, 0.2),
    14: (0.55, 0.05, 0.20, 0.25, 0.20, 0.0),
    15: (0.0, 0.01, 0.05, 0.0, 0.0, 0.9),
}
_REALMS = ("Afrotropic", "Australasia", "Indomalayan", "Nearctic", "Neotropic", "Oceania", "Palearctic")
ANTARCTICA = "Antarctica"


def _blur(field: F64, cells: int) -> F64:
    """The mean over a square of 2 * cells + 1 cells, periodic in longitude."""
    for axis, mode in ((1, "wrap"), (0, "edge")):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (cells + 1, cells)
        sums = np.cumsum(np.pad(field, pad, mode=mode), axis=axis)  # type: ignore[call-overload]
        size = field.shape[axis]
        high = sums.take(range(2 * cells + 1, 2 * cells + 1 + size), axis=axis)
        field = (high - sums.take(range(size), axis=axis)) / (2 * cells + 1)
    return field


class World:
    """Half-degree rasters (360, 720), from north to south; the first cell centre is at (-179.75, 89.75)."""

    def __init__(self, seed: int, noise: Noise) -> None:
        self._seed = seed
        self._noise = noise
        lon = -180 + (np.arange(COLUMNS) + 0.5) * STEP_DEG
        lat = 90 - (np.arange(ROWS) + 0.5) * STEP_DEG
        self.lon, self.lat = (np.asarray(a, dtype=np.float64) for a in np.meshgrid(lon, lat))
        self.unit = earth_centred(self.lon, self.lat).reshape(3, -1)
        self._relief()
        self._climate()
        self.biome = self._classify()
        self.realm = self._realms()
        self.province = self._provinces(30)
        self.stack = self._stack()

    def _fractal(self, key: int, longest_km: float, octaves: int, gain: float = 0.55) -> F64:
        wavelengths: F64 = longest_km * 1e3 / 2.07 ** np.arange(octaves, dtype=np.float64)
        seeds = self._seed * 1009 + key * 31 + np.arange(octaves)
        weights = gain ** np.arange(octaves) / np.sqrt((gain ** (2 * np.arange(octaves))).sum())
        total = np.empty(self.unit.shape[1])
        # Blocks that fit in the processor's cache: three times faster than the whole array at once.
        for start in range(0, total.size, _BLOCK_POINTS):
            block = self._noise.smooth(self.unit[:, start : start + _BLOCK_POINTS], wavelengths, seeds)
            total[start : start + _BLOCK_POINTS] = weights @ block
        return total.reshape(ROWS, COLUMNS)

    def _relief(self) -> None:
        base = self._fractal(1, 7000, 7, 0.6)
        area = np.cos(np.radians(self.lat)).ravel()
        order = np.argsort(base.ravel())
        sea = base.ravel()[order][np.searchsorted(np.cumsum(area[order]), 0.66 * area.sum())]
        inland = base - sea
        self.land = inland > 0
        self.people = self._fractal(4, 2500, 5)
        ridge = np.clip(1 - np.abs(self._fractal(2, 5200, 5)) * 1.7, 0, 1) ** 2
        belt = np.clip(0.5 + 0.9 * self._fractal(3, 6000, 3), 0, 1)
        lift = np.clip(inland * 3.0, 0, 1)
        mountain = ridge * belt * lift
        plateau = np.clip(self._fractal(6, 3600, 3) - 0.7, 0, 1.2) * lift
        height = 60 + 330 * np.clip(inland, 0, 1.2) + 2700 * mountain + 900 * plateau
        self.height_m = np.where(
            self.land, height * np.clip(inland * 14, 0.5, 1), 3200 * inland * np.clip(-4 * inland, 0.1, 1) - 8
        )
        self.rough = np.clip(0.03 + 0.14 * (self._fractal(5, 900, 4) + 0.5), 0.015, 0.3) + 0.85 * mountain
        self.rough = np.where(self.land, self.rough, 0.03)

    def _climate(self) -> None:
        sine = np.abs(np.sin(np.radians(self.lat)))
        inland = _blur(self.land.astype(np.float64), 10)
        self.sea_level_c = 28 - 44 * sine**3 + 1.6 * self._fractal(7, 3000, 3)
        self.amplitude_c = 1.0 + sine**1.3 * (6 + 20 * inland)
        absolute = np.abs(self.lat)
        belts = 0.34 + 1.05 * np.exp(-((absolute / 12) ** 2)) + 0.42 * np.exp(-(((absolute - 47) / 14) ** 2))
        belts -= 0.18 * np.exp(-(((absolute - 25) / 8) ** 2))
        noise = self._fractal(8, 2800, 5)
        wet = np.exp(0.72 * noise) * (1.18 - 0.55 * inland) * (1 - 0.55 * np.clip((absolute - 55) / 25, 0, 1))
        self.rain_mm = np.clip(1750 * belts * wet * (1 + 0.25 * np.clip(self.rough, 0, 1)), 15, 5200)
        west = np.exp(-(((absolute - 36) / 7) ** 2)) * 1.6
        self.rain_season = np.clip(0.45 + 0.25 * self._fractal(9, 3000, 3) - west * (noise < 0.4), -0.9, 0.9)

    def _classify(self) -> NDArray[np.uint8]:
        mean = self.sea_level_c - 0.006 * np.clip(self.height_m, 0, None)
        warm, rain, absolute = mean + self.amplitude_c, self.rain_mm, np.abs(self.lat)
        high, flooded = self.height_m, self._fractal(10, 900, 3)
        variant = self._fractal(11, 1500, 3)
        coast = self.land & (_blur(self.land.astype(np.float64), 1) < 0.95)
        winter_rain = (self.rain_season < -0.25) & (absolute > 27) & (absolute < 46)
        dry = 150 + 14 * np.clip(mean, 0, None)
        rules = [
            (~self.land, 0),
            ((warm < -1) | (self.lat < -76), ROCK_AND_ICE),
            ((high > 1900) & (absolute < 52) & (warm < 18), 10),
            (warm < 9.5, 11),
            (coast & (absolute < 27) & (variant > 0.1) & (high < 300), 14),
            (rain < dry, 13),
            ((mean > 12) & (flooded > 1.55) & (high < 700), 9),
            ((mean > 18.5) & (high > 650) & (rain > 700) & (variant > -0.2), 3),
            ((mean > 18.5) & (rain > 1650), 1),
            ((mean > 18.5) & (rain > 1150) & (variant > -0.4), 2),
            (mean > 18.5, 7),
            (winter_rain & (rain < 1200), 12),
            ((warm < 15.5) & (absolute > 47), 6),
            ((rain > 620) & ((high > 800) | (variant > 1.0)), 5),
            (rain > 620, 4),
        ]
        return np.select([r for r, _ in rules], [n for _, n in rules], default=8).astype(np.uint8)

    def _nearest(self, count: int, key: int, wobble: float) -> NDArray[np.int64]:
        """Which of `count` random points is nearest to each cell, on a sphere distorted by noise."""
        rng = np.random.default_rng([self._seed, key])
        seats = rng.normal(size=(count, 3))
        seats /= np.linalg.norm(seats, axis=1)[:, None]
        shift = np.stack([self._fractal(key + k, 1800, 4).ravel() for k in range(3)])
        return np.argmax(seats @ (self.unit / 6.371e6 + wobble * shift), axis=0).reshape(ROWS, COLUMNS)

    def _realms(self) -> NDArray[Any]:
        nearest = self._nearest(len(_REALMS), 100, 0.08)
        return np.where(self.lat < -60, len(_REALMS), nearest)

    def _provinces(self, count: int) -> NDArray[np.int64]:
        return self._nearest(count, 120, 0.05)

    def _stack(self) -> F32:
        ground = np.array([_GROUND[k] for k in range(16)])[self.biome]
        cover = {name: _blur(ground[..., k], 1) for k, name in enumerate(_GROUND_NAMES)}
        crowd = np.clip(0.5 + 0.42 * self.people, 0, 1) * np.clip(cover["crop"] * 2.2, 0, 1)
        cold = np.clip((20 - self.sea_level_c) / 110, 0, 0.22)
        noise = np.clip(1 + 0.45 * self._fractal(12, 2200, 3), 0.1, 2)
        clear = np.clip((0.46 - 0.17 * np.log(self.rain_mm / 350) - cold) * noise, 0.004, 0.75)
        channels = {
            "height_m": self.height_m, "rough": self.rough, "sea_level_c": self.sea_level_c,
            "amplitude_c": self.amplitude_c, "rain_mm": self.rain_mm, "rain_season": self.rain_season,
            "people": crowd, "mangrove": _blur((self.biome == 14).astype(np.float64), 1), "clear": clear,
            **{k: v for k, v in cover.items()},
        }  # fmt: skip
        stack = np.stack([channels[name] for name in CHANNELS], axis=-1).astype(np.float32)
        stack[0], stack[-1] = stack[0].mean(0), stack[-1].mean(0)
        return stack

    def sample(self, lon: F64, lat: F64) -> F32:
        """Channels (len(CHANNELS), ...) float32 at degrees, bilinear between cell centres, periodic in longitude."""
        x = ((lon + 180) / STEP_DEG - 0.5) % COLUMNS
        y = np.clip((90 - lat) / STEP_DEG - 0.5, 0, ROWS - 1.000001)
        i, j = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        i %= COLUMNS
        u, v = (x - np.floor(x))[..., None].astype(np.float32), (y - j)[..., None].astype(np.float32)
        right, below = (i + 1) % COLUMNS, np.minimum(j + 1, ROWS - 1)
        top = self.stack[j, i] + (self.stack[j, right] - self.stack[j, i]) * u
        bottom = self.stack[below, i] + (self.stack[below, right] - self.stack[below, i]) * u
        return np.ascontiguousarray(np.moveaxis(top + (bottom - top) * v, -1, 0))

    def realm_name(self, number: int) -> str:
        return ANTARCTICA if number == len(_REALMS) else _REALMS[number]

    def has_land(self, lon: float, lat: float, reach_deg: float) -> bool:
        """Whether a land cell is within about `reach_deg` of a location (then a scene is acquired)."""
        top = max(0, int((90 - lat - reach_deg) // STEP_DEG))
        rows = np.arange(top, min(ROWS - 1, int((90 - lat + reach_deg) // STEP_DEG)) + 1)
        wide = min(reach_deg / max(np.cos(np.radians(lat)), 0.02), 180.0)
        first = int(np.floor((lon + 180 - wide) / STEP_DEG))
        columns = np.arange(first, first + int(2 * wide / STEP_DEG) + 2) % COLUMNS
        return bool(self.land[np.ix_(rows, columns)].any())


_GROUND_NAMES = ("tree", "shrub", "grass", "crop", "wet", "conifer")
