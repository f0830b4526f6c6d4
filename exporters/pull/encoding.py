"""From physical values to stored ones as an Earth Engine graph: the rule of `pipeline.encoding`, computed there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import ee
import numpy as np
from numpy.typing import NDArray

from exporters.sources import Pixels
from pipeline.chip import Chip
from pipeline.encoding import is_rounded, stored_limits
from pipeline.errors import Fatal, Transient
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


def stored_image(modality: Modality, source: Pixels, chip: Chip) -> ee.Image:
    """All bands of a layer for a chip as stored values: scaled, rounded, nodata where masked, cast and named.

    Raises `Fatal` for a dtype that Earth Engine does not return.
    """
    return stored(modality, source.physical(chip, modality.resampling))


def stored(modality: Modality, physical: ee.Image) -> ee.Image:
    """The same from physical values."""
    image = _unmasked(modality, _scaled(modality, physical))
    return image.rename([column(modality, band) for band in modality.band_names])


def stray_code(modality: Modality) -> int | None:
    """What stands for an illegal class in transit: a code that is no class and not nodata; None where all are taken."""
    limits = np.iinfo(modality.dtype)
    taken = {*modality.codes, int(modality.nodata)}
    return next((code for code in range(limits.max, limits.min - 1, -1) if code not in taken), None)


def _scaled(modality: Modality, image: ee.Image) -> ee.Image:
    if modality.categories:
        return _marked(modality, image)
    if modality.offset != 0:
        image = image.subtract(modality.offset)
    if modality.scale != 1:
        image = image.divide(modality.scale)
    return image.round().clamp(*stored_limits(modality)) if is_rounded(modality) else image


def _marked(modality: Modality, codes: ee.Image) -> ee.Image:
    """`codes` with the stray code where the cast to the dtype would change them, to a class that they are not."""
    stray, limits = stray_code(modality), np.iinfo(modality.dtype)
    if stray is None:
        return codes
    return codes.where(codes.neq(codes.round().clamp(int(limits.min), int(limits.max))), stray)


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
    """Received bands, (y, x) each in any dtype, as stored values (bands, y, x) in the layer's dtype.

    Raises `Transient` for a value that the dtype cannot hold: the request had asked for that dtype.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # what they would tell is refused below
        block: NDArray[Any] = np.stack(pixels, dtype=modality.dtype, casting="unsafe")
    for band, stored in zip(pixels, block, strict=True):
        _refuse_loss(modality, band, stored)
    if math.isnan(modality.nodata):
        block[block == block.dtype.type(NAN_SENTINEL)] = np.nan
    return block


def _refuse_loss(modality: Modality, band: NDArray[Any], stored: NDArray[Any]) -> None:
    if band.dtype == stored.dtype:
        return
    lost = np.isfinite(band) & ~np.isfinite(stored) if stored.dtype.kind == "f" else stored != band
    if lost.any():
        raise Transient(
            f"modality {modality.name!r} arrived as {band.dtype} with {band[lost][0]}, "
            f"which {modality.dtype} cannot hold."
        )
