"""Clouds: their fraction in a scene, their positions, and their shadows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.lattice import Lattice, covering, knot_positions, spread
from sandbox.planet.noise import Noise
from sandbox.raster.stored import Window

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_WAVELENGTHS_M = np.array([26e3, 9.7e3, 3.7e3, 1.45e3, 560.0])
_WEIGHTS = np.array([0.70, 0.50, 0.36, 0.24, 0.14], dtype=np.float32)
_STEP = {10: 16, 20: 8, 60: 2}
_WEIGHTS /= np.sqrt((_WEIGHTS**2).sum())


@dataclass(frozen=True)
class Sky:
    """Cloud opacity and shadow depth, (height, width) float32 in [0, 1]; None: no cloud, no shadow."""

    cloud: F32 | None
    shadow: F32 | None


@dataclass(frozen=True)
class Weather:
    """A scene's weather: a seed shared by the datatake, the cloudy percentage, and the shadow's offset in metres."""

    seed: int
    cloudy_percent: float
    shadow_m: tuple[float, float, float]


class Clouds:
    """Cloud fields of any scene on any lattice."""

    def __init__(self, noise: Noise) -> None:
        self._noise = noise
        rng = np.random.default_rng(5)
        samples = rng.uniform(-6e6, 6e6, size=(3, 40_000))
        draws = _WEIGHTS @ noise.smooth(samples, _WAVELENGTHS_M, 91 + np.arange(5))
        self._ranks = np.linspace(0, 1, 1001)
        self._quantiles = np.quantile(draws, self._ranks)

    def threshold(self, cloudy_percent: float) -> float:
        """The value of the field that `cloudy_percent` of the world exceeds."""
        return float(np.interp(1 - cloudy_percent / 100, self._ranks, self._quantiles))

    def sky(self, weather: Weather, lattice: Lattice, window: Window) -> Sky:
        coarse = replace(lattice, step=_STEP.get(round(lattice.pixel_m), 1))
        positions = _node_positions(coarse, window)
        cloud = self._opacity(weather, positions)
        shadow_positions = positions + np.array(weather.shadow_m)[:, None, None]
        shadow = self._opacity(weather, shadow_positions)
        return Sky(_spread_any(cloud, window, coarse.step), _spread_any(shadow, window, coarse.step))

    def clear(self, weathers: Sequence[Weather], lattice: Lattice, window: Window) -> list[NDArray[np.bool_] | None]:
        """Where the opacity of each of several skies is below a tenth, (height, width) bool; None: everywhere."""
        coarse = replace(lattice, step=_STEP.get(round(lattice.pixel_m), 1))
        opacities = self._opacities(weathers, _node_positions(coarse, window))
        return [_clear(opacity, window, coarse.step) for opacity in opacities]

    def _opacity(self, weather: Weather, positions: F64) -> F32:
        return self._opacities([weather], positions)[0]

    def _opacities(self, weathers: Sequence[Weather], positions: F64) -> list[F32]:
        """Opacity (rows, columns), not clipped, of each sky at Earth-centred metres (3, rows, columns)."""
        flat = np.ascontiguousarray(positions.reshape(3, -1))
        seeds = np.concatenate([weather.seed + np.arange(5) for weather in weathers])
        octaves = self._noise.smooth(flat, np.tile(_WAVELENGTHS_M, len(weathers)), seeds)
        octaves = octaves.reshape(-1, 5, *positions.shape[1:])
        field = octaves[:, 0] * _WEIGHTS[0]
        for k in range(1, 5):
            field = field + octaves[:, k] * _WEIGHTS[k]
        limits = [np.float32(self.threshold(weather.cloudy_percent)) for weather in weathers]
        return [(item - limit) * np.float32(3) + np.float32(0.35) for item, limit in zip(field, limits, strict=True)]


def _spread_any(values: F32, window: Window, step: int) -> F32 | None:
    if values.max() <= 0:
        return None
    field = spread(values, window, step)
    return np.clip(field, 0, 1)


def _clear(opacity: F32, window: Window, step: int) -> NDArray[np.bool_] | None:
    # If all nodes are far from the limit, no pixel between them crosses it, whatever the rounding.
    if opacity.max() < 0.09:
        return None
    if opacity.min() > 0.11:
        return np.zeros((window.height, window.width), np.bool_)
    return np.asarray(spread(opacity, window, step) < np.float32(0.1))


@lru_cache(maxsize=256)
def _node_positions(lattice: Lattice, window: Window) -> F64:
    step = lattice.step
    first_column, columns = covering(window.column, window.width, step)
    first_row, rows = covering(window.row, window.height, step)
    nodes = Window(first_column, first_row, columns, rows)
    around = Window(first_column * step, first_row * step, columns * step, rows * step)
    return spread(knot_positions(lattice, around), nodes, lattice.knot // step)
