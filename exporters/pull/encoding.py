"""From physical values to stored ones: the same rule as an Earth Engine graph and in NumPy."""

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
# Sent in place of NaN, for which Earth Engine has no constant: the most negative number of float32.
NAN_SENTINEL = float(np.finfo(np.float32).min)
# 64-bit integers are not here: Earth Engine returns them as floats.
_CASTS = {
    "uint8": "toUint8", "int8": "toInt8", "uint16": "toUint16", "int16": "toInt16",
    "uint32": "toUint32", "int32": "toInt32", "float32": "toFloat", "float64": "toDouble",
}  # fmt: skip


def column(modality: Modality, band: str) -> str:
    """The name of a band in a request with other layers."""
    return f"{modality.name}{SEPARATOR}{band}"


def stored_limits(modality: Modality) -> tuple[float, float]:
    """The smallest and largest stored value of data: the dtype's limits, without nodata where that is one of them."""
    limits = np.iinfo(modality.dtype)
    low = limits.min + 1 if modality.nodata == limits.min else limits.min
    high = limits.max - 1 if modality.nodata == limits.max else limits.max
    return low, high


def is_rounded(modality: Modality) -> bool:
    """Whether stored values are rounded to integers (classes are integers already)."""
    return not modality.categories and np.dtype(modality.dtype).kind in "iu"


def stored_image(modality: Modality, source: Pixels, chip: Chip) -> ee.Image:
    """All bands of a layer for a chip as stored values: scaled, rounded, nodata where masked, cast and named.

    Raises `Fatal` for a dtype that Earth Engine does not return.
    """
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
    """With `sameFootprint=False`, so that pixels outside of the image's footprint are nodata too."""
    if modality.dtype not in _CASTS:
        raise Fatal(f"modality {modality.name!r}: Earth Engine returns no {modality.dtype}; use {', '.join(_CASTS)}.")
    filled = image.unmask(_nodata_in_transit(modality), False)
    return getattr(filled, _CASTS[modality.dtype])()


def _nodata_in_transit(modality: Modality) -> float:
    if math.isnan(modality.nodata):
        return NAN_SENTINEL
    is_integer = np.dtype(modality.dtype).kind in "iu"
    return int(modality.nodata) if is_integer else modality.nodata


def arrived(modality: Modality, pixels: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Received bands, (y, x) each in any dtype, as stored values (bands, y, x) in the layer's dtype."""
    block: NDArray[Any] = np.stack(pixels, dtype=modality.dtype, casting="unsafe")
    if math.isnan(modality.nodata):
        block[block == block.dtype.type(NAN_SENTINEL)] = np.nan
    return block


def stored_values(modality: Modality, physical: NDArray[Any]) -> NDArray[Any]:
    """Physical values of any shape and dtype, NaN for none, as stored values of that shape in the layer's dtype."""
    values = np.asarray(physical, dtype=np.float64)
    known = np.isfinite(values)
    scaled = (np.where(known, values, 0.0) - modality.offset) / modality.scale
    if is_rounded(modality):
        scaled = np.clip(np.round(scaled), *stored_limits(modality))
    stored = scaled.astype(modality.dtype)
    stored[~known] = modality.fill
    return stored
