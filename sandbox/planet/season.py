"""Season: growth and snow of each pixel on a date."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sandbox.planet.ground import Ground
from sandbox.planet.materials import M

F32 = NDArray[np.float32]

# Middle of a field's growth, as a fraction of the year after midwinter, for each of eight crop calendars.
_CROP_PEAK = np.array([0.36, 0.40, 0.44, 0.52, 0.56, 0.60, 0.48, 0.38])
_CROP_WIDTH = np.array([0.13, 0.15, 0.12, 0.13, 0.15, 0.12, 0.22, 0.10])
_EVERGREEN = np.array([0.0, 0.75, 0.15, 0.1, 0.0, 0, 0, 0, 0, 0, 0, 0.3, 0.9, 0.0, 0.2], dtype=np.float32)


@dataclass(frozen=True)
class Season:
    """Growth in [0, 1] and the fraction of snow cover, (height, width) float32 (None: no snow)."""

    green: F32
    snow: F32 | None


def phase_after_midwinter(year_phase: float, southern: bool) -> float:
    """The fraction of a year since mid-January (mid-July in the southern hemisphere)."""
    return (year_phase - 0.045 + (0.5 if southern else 0.0)) % 1.0


def season_of(ground: Ground, phase: float) -> Season:
    """The season at `phase_after_midwinter`, per pixel: at a mountain it is later than in its valley."""
    wave = np.float32(-np.cos(2 * np.pi * phase))
    now_c = ground.swing_c * wave
    now_c += ground.warmth_c
    green = _growth(ground, now_c, wave)
    crop = ground.material == M["crop"]
    crops = _crop_growth(phase).take(ground.parcel & 7) * np.sqrt(green) if crop.any() else None
    np.maximum(green, _EVERGREEN.take(ground.material), out=green)
    if crops is not None:
        np.copyto(green, crops, where=crop)
    texture = np.float32(0.06) * ground.fine
    texture += 1
    green *= texture
    return Season(np.clip(green, 0, 1, out=green), _snow(ground, now_c))


def _growth(ground: Ground, now_c: F32, wave: np.float32) -> F32:
    """What warmth and rain allow, in [0, 1]."""
    growth = now_c - 1
    growth *= np.float32(1 / 13)
    np.clip(growth, 0, 1, out=growth)
    rain = ground.rain_season * wave
    rain += 1
    rain *= ground.rain_mm
    rain *= np.float32(1 / 12)
    rain *= np.float32(1 / 75)
    growth *= np.clip(rain, 0.06, 1, out=rain)
    return growth


def _crop_growth(phase: float) -> F32:
    away = np.abs(phase - _CROP_PEAK)
    return np.asarray(np.clip(1.25 - (np.minimum(away, 1 - away) / _CROP_WIDTH) ** 2 * 1.1, 0.02, 1), np.float32)


def _snow(ground: Ground, now_c: F32) -> F32 | None:
    cover = (-1.5 - now_c) * np.float32(0.22) + np.float32(0.12) * ground.fine
    if cover.max() <= 0:
        return None
    # In woods the crowns hide the snow, and on open water that does not freeze it melts.
    hold = np.array([0.35, 0.3, 0.8, 1, 1, 0.8, 0.5, 1, 1, 1, 1, 1, 0, 1, 0.4], dtype=np.float32)
    cover = np.clip(cover, 0, 1) * hold.take(ground.material)
    unfrozen = (ground.material == M["water"]) & (now_c > -7)
    cover[unfrozen] = 0
    return np.asarray(cover)
