"""Clouds: their fraction in a scene, their positions, and their shadows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.lattice import Lattice, covered, enclosing, knot_positions, spread
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

    def sky(self, weather: Weather, lattice: Lattice, window: Window) -> Sky:
        coarse = _coarse(lattice)
        here = _node_positions(coarse, window)
        both = np.stack([here, here + np.array(weather.shadow_m)[:, None, None]], axis=1)
        cloud, shadow = self._opacity([weather], both)[0]
        return Sky(_spread_any(cloud, window, coarse.step), _spread_any(shadow, window, coarse.step))

    def clear(self, weathers: Sequence[Weather], lattice: Lattice, window: Window) -> list[NDArray[np.bool_] | bool]:
        """Where the opacity of each of several skies is below a tenth, (height, width) bool, or one bool for all."""
        coarse = _coarse(lattice)
        opacity = self._opacity(weathers, _node_positions(coarse, window))
        # If all nodes are far from the limit, no pixel between them crosses it, whatever the rounding.
        whole, partly = opacity.max(axis=(1, 2)) < 0.09, opacity.min(axis=(1, 2)) <= 0.11
        return [
            np.asarray(spread(nodes, window, coarse.step) < np.float32(0.1)) if some and not every else every
            for nodes, every, some in zip(opacity, whole.tolist(), partly.tolist(), strict=True)
        ]

    def _opacity(self, weathers: Sequence[Weather], positions: F64) -> F32:
        """Opacity, not clipped, of each sky (skies, ...) at Earth-centred metres (3, ...)."""
        flat = np.ascontiguousarray(positions.reshape(3, -1))
        seeds = np.array([weather.seed for weather in weathers])[:, None] + np.arange(5)
        octaves = self._noise.smooth(flat, _WAVELENGTHS_M, seeds)
        octaves *= _WEIGHTS[:, None]
        field = octaves[:, 0]
        for k in range(1, 5):
            field += octaves[:, k]
        cloudy = np.array([weather.cloudy_percent for weather in weathers])
        field -= np.interp(1 - cloudy / 100, self._ranks, self._quantiles).astype(np.float32)[:, None]
        field *= np.float32(3)
        field += np.float32(0.35)
        return field.reshape(-1, *positions.shape[1:])


def _coarse(lattice: Lattice) -> Lattice:
    """The lattice with a step of about 160 m, the distance at which clouds are computed."""
    return replace(lattice, step=_STEP.get(round(lattice.pixel_m), 1))


def _spread_any(values: F32, window: Window, step: int) -> F32 | None:
    if values.max() <= 0:
        return None
    return np.clip(spread(values, window, step), 0, 1)


@lru_cache(maxsize=256)
def _node_positions(lattice: Lattice, window: Window) -> F64:
    nodes = enclosing(window, lattice.step)
    return spread(knot_positions(lattice, covered(nodes, lattice.step)), nodes, lattice.knot // lattice.step)
