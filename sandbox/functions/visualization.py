"""Pictures of images: one to three bands stretched to bytes, or one band through a palette."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from sandbox.errors import EarthEngineError
from sandbox.functions.image_bands import named, select
from sandbox.functions.image_math import mapped_band
from sandbox.functions.images import Image, ImageBand
from sandbox.registry import algorithm

_NAMES = ["vis-red", "vis-green", "vis-blue"]
_BYTE = np.dtype(np.uint8)


def _listed(value: Any) -> list[Any]:
    """A single value, a list, or a text with commas, as a list."""
    items = value.split(",") if isinstance(value, str) else value
    return [item.strip() if isinstance(item, str) else item for item in (items if isinstance(items, list) else [items])]


def _stretch(low: Any, high: Any, gain: Any, bias: Any, count: int) -> list[tuple[float, float]]:
    """Gain and bias of each band, so that `low` becomes 0 and `high` 255."""
    if gain is None and bias is None:
        lows, highs = (_each(value, count, default) for value, default in ((low, 0.0), (high, 255.0)))
        gains = [255 / (top - bottom) if top != bottom else 255.0 for bottom, top in zip(lows, highs, strict=True)]
        return [(factor, -bottom * factor) for factor, bottom in zip(gains, lows, strict=True)]
    return list(zip(_each(gain, count, 1.0), _each(bias, count, 0.0), strict=True))


def _each(value: Any, count: int, default: float) -> list[float]:
    try:
        numbers = [float(item) for item in _listed(default if value is None else value)]
    except (TypeError, ValueError) as error:
        raise EarthEngineError(f"Image.visualize: Expected numbers, not {value!r}.") from error
    if len(numbers) not in (1, count):
        raise EarthEngineError(f"Image.visualize: {len(numbers)} values are given for {count} bands.")
    return numbers * count if len(numbers) == 1 else numbers


def _stretched(band: ImageBand, gain: float, bias: float, gamma: float) -> ImageBand:
    def bytes_of(values: NDArray[Any]) -> NDArray[Any]:
        shares = np.clip((values.astype(np.float64) * gain + bias) / 255, 0, 1)
        return np.rint(255 * shares ** (1 / gamma)).astype(np.uint8)

    return mapped_band(band, _BYTE, bytes_of)


def _coloured(band: ImageBand, palette: list[str]) -> list[ImageBand]:
    """Red, green and blue of a stretched band, in equal classes of the palette."""
    colours = np.array([_rgb(name) for name in palette], np.uint8)

    def part(axis: int) -> ImageBand:
        table = colours[np.minimum(np.arange(256) * len(colours) // 255, len(colours) - 1), axis]
        return mapped_band(band, _BYTE, lambda values: table[values])

    return [part(axis) for axis in range(3)]


def _rgb(name: str) -> tuple[int, ...]:
    for text in (name, f"#{name}"):
        try:
            return ImageColor.getrgb(text)[:3]
        except ValueError:
            continue
    raise EarthEngineError(f"Image.visualize: Invalid color '{name}'.")


@algorithm("Image.visualize")
def visualize(image: Image, bands: Any, gain: Any, bias: Any, low: Any, high: Any, gamma: Any, opacity: float | None,
              palette: Any, force_rgb: bool) -> Image:  # fmt: skip
    """One band as gray bytes (or through the palette), or three as red, green and blue."""
    chosen = select(image, _listed(bands), None) if bands is not None else image
    count = len(chosen.bands)
    if count not in (1, 3) or opacity not in (None, 1) or (palette and count > 1):
        raise EarthEngineError("Image.visualize: The sandbox shows one band or three, opaque, and a palette of one.")
    stretch, gammas = _stretch(low, high, gain, bias, count), _each(gamma, count, 1.0)
    shown = [_stretched(band, *pair, power) for band, pair, power in zip(chosen.bands, stretch, gammas, strict=True)]
    if palette:
        shown = _coloured(shown[0], _listed(palette))
    elif force_rgb and count == 1:
        shown *= 3
    names = _NAMES if len(shown) == 3 else ["vis-gray"]
    return replace(image, bands=tuple(named(shown, names)))
