"""Between physical values and stored ones: the same rule as an Earth Engine graph and as NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import ee
import numpy as np
from numpy.typing import NDArray

from exporters.sources import Pixels
from pipeline.chip import Chip
from pipeline.errors import Fatal
from pipeline.modality import Modality

SEPARATOR = "__"
# Travels in place of NaN, which Earth Engine has no constant for: the most negative number of float32.
NAN_SENTINEL = float(np.finfo(np.float32).min)
# 64-bit integers are not here: Earth Engine returns them as floats.
_CASTS = {
    "uint8": "toUint8", "int8": "toInt8", "uint16": "toUint16", "int16": "toInt16",
    "uint32": "toUint32", "int32": "toInt32", "float32": "toFloat", "float64": "toDouble",
}  # fmt: skip


def column(modality: Modality, band: str) -> str:
    """The name under which a band travels in a request with other layers."""
    return f"{modality.name}{SEPARATOR}{band}"


def stored_limits(modality: Modality) -> tuple[float, float]:
    """The stored values that data may take: the dtype's, less nodata where that is its first or last value."""
    limits = np.iinfo(modality.dtype)
    low = limits.min + 1 if modality.nodata == limits.min else limits.min
    high = limits.max - 1 if modality.nodata == limits.max else limits.max
    return low, high


def is_rounded(modality: Modality) -> bool:
    """Whether stored values are numbers cut to integers (classes are integers already)."""
    return not modality.categories and np.dtype(modality.dtype).kind in "iu"


def stored_image(modality: Modality, source: Pixels, chip: Chip) -> ee.Image:
    """All bands of a layer for a chip as they are stored: scaled, rounded, nodata where masked, typed, named."""
    image = source.image(chip)
    if modality.resampling == "bilinear":
        image = image.resample("bilinear")
    image = _unmasked(modality, _scaled(modality, image))
    return image.rename([column(modality, band) for band in modality.band_names])


def _scaled(modality: Modality, image: ee.Image) -> ee.Image:
    if modality.offset != 0:
        image = image.subtract(modality.offset)
    if modality.scale != 1:
        image = image.divide(modality.scale)
    return image.round().clamp(*stored_limits(modality)) if is_rounded(modality) else image


def _unmasked(modality: Modality, image: ee.Image) -> ee.Image:
    """`sameFootprint=False`: outside of the image's footprint there is nodata too."""
    if modality.dtype not in _CASTS:
        raise Fatal(f"modality {modality.name!r}: Earth Engine returns no {modality.dtype}; use {', '.join(_CASTS)}.")
    filled = image.unmask(_travelling_nodata(modality), False)
    return getattr(filled, _CASTS[modality.dtype])()


def _travelling_nodata(modality: Modality) -> float:
    if math.isnan(modality.nodata):
        return NAN_SENTINEL
    whole = np.dtype(modality.dtype).kind in "iu"
    return int(modality.nodata) if whole else modality.nodata


def arrived(modality: Modality, pixels: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Bands as they came, (height, width) each, as stored values (bands, height, width)."""
    block: NDArray[Any] = np.stack(pixels, dtype=modality.dtype, casting="unsafe")
    if math.isnan(modality.nodata):
        block[block == block.dtype.type(NAN_SENTINEL)] = np.nan
    return block


def stored_values(modality: Modality, physical: NDArray[Any]) -> NDArray[Any]:
    """Physical values of any shape, NaN for none, as stored ones."""
    values = np.asarray(physical, dtype=np.float64)
    known = np.isfinite(values)
    scaled = (np.where(known, values, 0.0) - modality.offset) / modality.scale
    if is_rounded(modality):
        scaled = np.clip(np.round(scaled), *stored_limits(modality))
    stored = scaled.astype(modality.dtype)
    stored[~known] = modality.fill
    return stored
