"""From physical values to stored ones, in NumPy; `exporters.pull.encoding` has the same rule as an Earth Engine graph.

A number is divided by the layer's scale. Where the dtype is an integer it is then rounded, and what lies beyond the
dtype's limits becomes the limit, as a saturated sensor has it; a real number stays as near as the dtype has it. A class
is a code as it is: a fraction, or what the dtype cannot hold, is refused. No other cast changes a value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.modality import Modality


def stored_limits(modality: Modality) -> tuple[float, float]:
    """The smallest and largest stored value of data: the dtype's limits, without nodata where that is one of them."""
    limits = np.iinfo(modality.dtype)
    low = limits.min + 1 if modality.nodata == limits.min else limits.min
    high = limits.max - 1 if modality.nodata == limits.max else limits.max
    return low, high


def is_rounded(modality: Modality) -> bool:
    """Whether stored values are rounded to integers (classes are integers already)."""
    return not modality.categories and np.dtype(modality.dtype).kind in "iu"


def unstorable(modality: Modality, physical: NDArray[np.float64]) -> str | None:
    """Why physical values cannot be stored by the layer's rule, or None. NaN and infinity are no data."""
    if is_rounded(modality):
        return None
    values = physical[np.isfinite(physical)]
    if modality.categories:
        limits = np.iinfo(modality.dtype)
        strays = values[values != np.clip(np.round(values), limits.min, limits.max)]
        return f"values {_few(strays)} are none of its classes" if strays.size else None
    scaled = (values - modality.offset) / modality.scale
    beyond = np.abs(scaled) > np.finfo(modality.dtype).max
    return f"values {_few(values[beyond])} are more than {modality.dtype} holds" if beyond.any() else None


def _few(values: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:g}" for value in np.unique(values)[:5])


def stored_values(modality: Modality, physical: NDArray[Any]) -> NDArray[Any]:
    """Physical values of any shape and dtype, NaN for none, as stored values of that shape in the layer's dtype.

    Raises `Fatal` for values that are `unstorable`.
    """
    values = np.asarray(physical, dtype=np.float64)
    reason = unstorable(modality, values)
    if reason:
        raise Fatal(f"modality {modality.name!r}: {reason}; correct its source.")
    return encoded(modality, values)


def encoded(modality: Modality, values: NDArray[np.float64]) -> NDArray[Any]:
    """As `stored_values`, of values that are known to be storable."""
    known = np.isfinite(values)
    scaled = (np.where(known, values, 0.0) - modality.offset) / modality.scale
    if is_rounded(modality):
        scaled = np.clip(np.round(scaled), *stored_limits(modality))
    stored = scaled.astype(modality.dtype)
    stored[~known] = modality.fill
    return stored
