"""Whether numbers are stored or physical ones, told from what weights know of a layer: its dtype, range and classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.encoding import stored_values, unstorable
from pipeline.errors import Fatal
from pipeline.modality import Modality, Range

_MOST_OUTSIDE = 0.5  # of the data: clouds and roofs leave the valid range, other units leave it nearly everywhere


def stored_numbers(modality: Modality, array: NDArray[Any]) -> NDArray[Any]:
    """`array` of stored numbers, of any shape, in the stored dtype; masked values are nodata.

    Raises `Fatal` for what cannot be stored numbers: real numbers where integers are stored, a dtype that could not
    hold them, mostly values outside of the valid range, codes that are no class.
    """
    if np.ma.isMaskedArray(array):
        array = array.filled(modality.fill)
    if not _may_be_stored(modality, array):
        raise _refusal(modality, array, "give the stored numbers, or physical values to `image_from_physical`")
    return array.astype(modality.dtype, copy=False)


def stored_from_physical(modality: Modality, array: NDArray[Any]) -> NDArray[Any]:
    """`array` of values in the bands' units (codes for classes), of any shape, as stored numbers; NaN is nodata.

    Raises `Fatal` for what cannot be physical values of the layer.
    """
    numbers = np.ma.filled(np.ma.asarray(array, dtype=np.float64), np.nan)
    if unstorable(modality, numbers) or not _within_limits(modality, numbers):
        raise _refusal(modality, numbers, "give values in its units, or stored numbers to `image`")
    return stored_numbers(modality, stored_values(modality, numbers))


def _may_be_stored(modality: Modality, array: NDArray[Any]) -> bool:
    kind = np.dtype(modality.dtype)
    if kind.kind == "f":
        lost = not np.isnan(modality.nodata) and array.dtype.kind == "f" and bool(np.isnan(array).any())
        return array.dtype.kind in "iuf" and not lost and _mostly_legal(modality, array)
    return array.dtype.kind in "iu" and _holds(modality, array) and _mostly_legal(modality, array)


def _holds(modality: Modality, array: NDArray[Any]) -> bool:
    """Whether integers of another dtype are those of the layer: it could hold them all, and they fit its dtype."""
    if array.dtype == np.dtype(modality.dtype) or not array.size:
        return True
    limits, most = np.iinfo(modality.dtype), (_widest(modality) or (0, 0))[1]
    return bool(np.iinfo(array.dtype).max >= most and limits.min <= array.min() and array.max() <= limits.max)


def _mostly_legal(modality: Modality, array: NDArray[Any]) -> bool:
    if modality.categories:
        return bool(np.isin(array, [*modality.codes, modality.nodata]).all())
    widest = _widest(modality)
    if widest is None or not array.size:
        return True
    low, high = widest
    if low <= array.min() and array.max() <= high:  # true for most, and several times as fast
        return True
    return _share_outside(array[modality.valid(array)], low, high) <= _MOST_OUTSIDE


def _within_limits(modality: Modality, physical: NDArray[np.float64]) -> bool:
    """Whether most physical values are ones that the layer can have, before they are rounded and saturated."""
    if modality.categories:
        return True
    scaled = (physical[np.isfinite(physical)] - modality.offset) / modality.scale
    low, high = _limits(modality)
    return _share_outside(scaled, low - 0.5, high + 0.5) <= _MOST_OUTSIDE


def _share_outside(stored: NDArray[Any], low: float, high: float) -> float:
    return float(np.mean((stored < low) | (stored > high))) if stored.size else 0.0


def _widest(modality: Modality) -> Range | None:
    """From the least to the greatest number that any band may have; None where one may have all."""
    ranges = [each for each in modality.ranges if each is not None]
    if len(ranges) < len(modality.bands):
        return None
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _limits(modality: Modality) -> Range:
    if (widest := _widest(modality)) is not None:
        return widest
    kind = np.dtype(modality.dtype)
    limits = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    return float(limits.min), float(limits.max)


def _refusal(modality: Modality, array: NDArray[Any], advice: str) -> Fatal:
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    seen = f"{finite.min():g} to {finite.max():g}" if finite.size and array.dtype.kind in "iuf" else "no numbers"
    low, high = _limits(modality)
    known = f"classes {', '.join(map(str, modality.codes[:8]))}" if modality.categories else f"{low:g} to {high:g}"
    unit = f" (one is {modality.scale:g} {_units(modality)})" if modality.scale != 1 else ""
    return Fatal(
        f"{modality.name!r} came as {array.dtype} {seen}, and these weights know it stored as {modality.dtype} {known}"
        f"{unit}; {advice}."
    )


def _units(modality: Modality) -> str:
    units = {band.units for band in modality.bands}
    return units.pop() if len(units) == 1 and "1" not in units else "of the physical value"
