"""Pictures of a chip, drawn by the modality's own `Display` and classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.grid import LATTICE_M
from pipeline.modality import Modality, Style

Picture = NDArray[np.uint8]

# A tint that neither a grey image nor a class table uses, so that nodata does not look like a value.
_NODATA_TONES = ((238, 232, 244), (205, 192, 220))
_NODATA_CELL_PX = 4
_ILLEGAL_CLASS = (255, 0, 255)
_PERCENTILES = (2.0, 98.0)
_SUN_AZIMUTH_DEG, _SUN_ALTITUDE_DEG = 315.0, 45.0
# Slopes are exaggerated, within bounds, until the 95th percentile reaches this tangent; plains stay nearly flat.
_STEEP, _STEEP_PERCENTILE, _EXAGGERATION = 0.6, 95.0, (1.0, 8.0)
# From low (green) to high (white): the fraction of the height range, and its colour.
_RELIEF_TINT = (
    (0.0, (150, 184, 142)),
    (0.25, (206, 211, 160)),
    (0.5, (214, 186, 140)),
    (0.75, (188, 160, 140)),
    (1.0, (245, 243, 240)),
)


def draw(modality: Modality, stored: NDArray[Any], resolution_m: float = LATTICE_M) -> Picture:
    """RGB (y, x, 3) uint8 of one chip's values (bands, y, x) in the stored dtype; nodata is checkered.

    Bands and limits are those of `modality.display`; equal limits stretch between the 2nd and 98th percentile
    of the chip. Without a style, classes get their colours, and other layers are grey and stretched. Raises `Fatal` for
    an image-level layer or another shape.
    """
    if modality.extent != "pixel":
        raise Fatal(f"modality {modality.name!r} has one value per chip and no picture; show its values instead.")
    if stored.ndim != 3 or stored.shape[0] != len(modality.bands):
        raise Fatal(f"a chip of {modality.name!r} is ({len(modality.bands)}, h, w), not {stored.shape}.")
    modality = _with_style(modality)
    style = modality.display.style
    shown = stored[_band_indices(modality, 3 if style == "rgb" else 1)]
    picture = _STYLES[style](modality, shown, resolution_m)
    absent = ~np.all(modality.valid(shown), axis=0)
    if absent.any():
        picture[absent] = nodata_pattern(*stored.shape[1:])[absent]
    return picture


def draw_all(modality: Modality, stored: NDArray[Any], resolution_m: float = LATTICE_M) -> list[tuple[str, Picture]]:
    """Every picture of the display (y, x, 3) uint8, each with the name of its band, or "" for a single picture.

    A grey display of several bands (such as radar passes) is one picture per band; any other display is one `draw`.
    Raises `Fatal` as `draw` does.
    """
    display = modality.display
    if display.style != "grey" or len(display.bands) < 2:
        return [("", draw(modality, stored, resolution_m))]
    alone = {band: replace(modality, display=replace(display, bands=(band,))) for band in display.bands}
    return [(band, draw(item, stored, resolution_m)) for band, item in alone.items()]


def nodata_pattern(height_px: int, width_px: int) -> Picture:
    """The checkered pattern (y, x, 3) uint8 that marks nodata."""
    y, x = np.indices((height_px, width_px)) // _NODATA_CELL_PX
    return np.asarray(_NODATA_TONES, dtype=np.uint8)[(y + x) % 2]


def _with_style(modality: Modality) -> Modality:
    if modality.display.style != "none":
        return modality
    style: Style = "classes" if modality.categories else "grey"
    return replace(modality, display=replace(modality.display, style=style, low=0.0, high=0.0))


def _band_indices(modality: Modality, wanted: int) -> list[int]:
    """Indices of the displayed bands; the last one is repeated if there are too few."""
    names = modality.display.bands or modality.band_names
    indices = [modality.band_names.index(name) for name in names[:wanted]]
    return indices + indices[-1:] * (wanted - len(indices))


def _rgb(modality: Modality, stored: NDArray[Any], _: float) -> Picture:
    return _bytes(np.moveaxis(_stretched(modality, modality.physical(stored)), 0, -1))


def _grey(modality: Modality, stored: NDArray[Any], _: float) -> Picture:
    return _bytes(np.repeat(_stretched(modality, modality.physical(stored[0]))[..., None], 3, axis=-1))


def _stretched(modality: Modality, physical: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 to 1 between the limits; NaN becomes 0."""
    low, high = _limits(modality, physical)
    scaled = (physical - low) / (high - low) if high > low else np.full(physical.shape, 0.5)
    return np.clip(np.nan_to_num(scaled, nan=0.0), 0.0, 1.0)


def _limits(modality: Modality, physical: NDArray[np.float64]) -> tuple[float, float]:
    display = modality.display
    if display.high > display.low:
        return display.low, display.high
    finite = physical[np.isfinite(physical)]
    if not finite.size:
        return 0.0, 0.0
    low, high = np.percentile(finite, _PERCENTILES)
    return float(low), float(high)


def _hillshade(modality: Modality, stored: NDArray[Any], resolution_m: float) -> Picture:
    """Light from the north-west (Horn 1981) over a tint of the height within its limits."""
    height_m = modality.physical(stored[0])
    fraction = _stretched(modality, height_m)
    stops = np.array([stop for stop, _ in _RELIEF_TINT])
    channels = np.array([colour for _, colour in _RELIEF_TINT]).T / 255
    tint = np.stack([np.interp(fraction, stops, channel) for channel in channels], axis=-1)
    return _bytes(tint * (0.35 + 0.75 * _light(height_m, resolution_m))[..., None])


def _light(height_m: NDArray[np.float64], resolution_m: float) -> NDArray[np.float64]:
    """Cosine of the angle between the ground's exaggerated normal and the sun, 0 to 1; row 0 is north."""
    east, north = _slopes(height_m, resolution_m)
    steep = float(np.percentile(np.hypot(east, north), _STEEP_PERCENTILE))
    factor = float(np.clip(_STEEP / max(steep, 1e-9), *_EXAGGERATION))
    east, north = east * factor, north * factor
    azimuth, altitude = np.radians(_SUN_AZIMUTH_DEG), np.radians(_SUN_ALTITUDE_DEG)
    toward = -east * np.sin(azimuth) * np.cos(altitude) - north * np.cos(azimuth) * np.cos(altitude) + np.sin(altitude)
    return np.asarray(np.clip(toward / np.sqrt(1 + east**2 + north**2), 0.0, 1.0))


def _slopes(height_m: NDArray[np.float64], resolution_m: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rise per metre towards east and north, by Horn's weights; unknown heights count as the mean."""
    known = np.isfinite(height_m)
    filled = np.where(known, height_m, height_m[known].mean() if known.any() else 0.0)
    ring = np.pad(filled, 1, mode="edge")
    columns = ring[:-2] + 2 * ring[1:-1] + ring[2:]
    rows = ring[:, :-2] + 2 * ring[:, 1:-1] + ring[:, 2:]
    scale = 1 / (8 * resolution_m)
    return (columns[:, 2:] - columns[:, :-2]) * scale, (rows[:-2] - rows[2:]) * scale


def _classes(modality: Modality, stored: NDArray[Any], _: float) -> Picture:
    picture = np.full((*stored.shape[1:], 3), _ILLEGAL_CLASS, dtype=np.uint8)
    for category in modality.categories:
        picture[stored[0] == category.code] = rgb_of(category.colour)
    return picture


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Red, green and blue (0 to 255) of "#rrggbb"; raises `Fatal` for anything else."""
    digits = colour.removeprefix("#")
    try:
        if len(digits) == 6:
            return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    except ValueError:
        pass
    raise Fatal(f"{colour!r} is no colour; write it as #rrggbb.")


def _bytes(unit: NDArray[np.float64]) -> Picture:
    return np.asarray(np.clip(unit, 0.0, 1.0) * 255 + 0.5, dtype=np.uint8)


_STYLES: dict[str, Callable[[Modality, NDArray[Any], float], Picture]] = {
    "rgb": _rgb,
    "grey": _grey,
    "hillshade": _hillshade,
    "classes": _classes,
}
