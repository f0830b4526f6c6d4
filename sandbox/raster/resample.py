"""Pixels of a lattice at fractional positions: nearest, bilinear and bicubic, with masks.

A bilinear or bicubic value is the weighted mean of the valid pixels around it; it is masked where none of those
with a weight is valid. Integers are rounded to the nearest, so the band's type is preserved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.raster.grids import Mapping

Pixels = tuple[NDArray[Any], NDArray[np.bool_]]

MARGINS = {"nearest": 0, "bilinear": 1, "bicubic": 2}
"""How many pixels on each side of a position a mode reads."""


_Tap = tuple[NDArray[np.intp], NDArray[np.float64]]
_CACHED_TAPS_PIXELS = 512 * 512


def nearest(values: NDArray[Any], valid: NDArray[np.bool_], mapping: Mapping) -> Pixels:
    """The pixel that contains each position: values in their dtype and a bool mask, both (height, width)."""
    index = nearest_index(mapping, values.shape[1])
    return values.ravel().take(index), valid.ravel().take(index)


def nearest_index(mapping: Mapping, width: int) -> NDArray[np.intp]:
    """The index (height, width) of each position in a flattened source of that width (shared: do not modify)."""
    return mapping.derived(("nearest", width), lambda source: _flat_index(source, width))


def _flat_index(mapping: Mapping, width: int) -> NDArray[np.intp]:
    """The index of each position in the flattened source."""
    return np.floor(mapping.rows).astype(np.intp) * width + np.floor(mapping.columns).astype(np.intp)


def _keys_weights(fraction: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    # Keys (1981), a = -1/2, at distances 1+f, f, 1-f, 2-f.
    f = fraction
    return [
        ((-0.5 * f + 1.0) * f - 0.5) * f,
        (1.5 * f - 2.5) * f * f + 1.0,
        ((-1.5 * f + 2.0) * f + 0.5) * f,
        (0.5 * f - 0.5) * f * f,
    ]


def _taps(mode: str, positions: NDArray[np.float64]) -> list[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """(pixel index, weight) of each pixel that contributes to a position along one axis."""
    base = np.floor(positions - 0.5)
    fraction = positions - 0.5 - base
    first = base.astype(np.intp)
    if mode == "bilinear":
        return [(first, 1.0 - fraction), (first + 1, fraction)]
    return [(first - 1 + i, weight) for i, weight in enumerate(_keys_weights(fraction))]


def rounded(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values in `dtype`: the nearest integers within its limits for an integer type."""
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.floor(values + 0.5), limits.min, limits.max).astype(dtype)


def interpolated(mode: str, values: NDArray[Any], valid: NDArray[np.bool_], mapping: Mapping) -> Pixels:
    """Bilinear or bicubic values (in the dtype of `values`) and a bool mask, both (height, width).

    Every pixel that `mapping` reads must lie inside `values`.
    """
    if not valid.all():
        return _masked(values, valid, _stencil(mode, mapping, values.shape[1]))
    if mapping.columns.shape[0] == 1 and mapping.rows.shape[1] == 1:
        total = _separable(mode, values, mapping)
    else:
        total = _gathered(values, _stencil(mode, mapping, values.shape[1]))
    return rounded(total, values.dtype), np.ones(total.shape, dtype=np.bool_)


def _stencil(mode: str, mapping: Mapping, width: int) -> Iterable[_Tap]:
    """(index in the flattened source, weight) of each pixel that contributes to a position."""
    if mapping.columns.shape[-1] * mapping.rows.shape[0] > _CACHED_TAPS_PIXELS:
        return _make_stencil(mode, mapping, width)
    return mapping.derived((mode, width), lambda source: list(_make_stencil(mode, source, width)))


def _make_stencil(mode: str, mapping: Mapping, width: int) -> Iterator[_Tap]:
    columns = _taps(mode, mapping.columns)
    for row, row_weight in _taps(mode, mapping.rows):
        for column, column_weight in columns:
            yield row * width + column, row_weight * column_weight


def _masked(values: NDArray[Any], valid: NDArray[np.bool_], stencil: Iterable[_Tap]) -> Pixels:
    """The fast computation for all positions, then the exact one for those that read an invalid pixel."""
    taps = list(stencil)
    invalid = ~valid.ravel()
    touched = invalid.take(taps[0][0])
    for index, _ in taps[1:]:
        touched |= invalid.take(index)
    where = np.flatnonzero(touched)
    if 2 * where.size > touched.size:
        return _partly_valid(values, valid, taps)
    result = rounded(_gathered(np.where(valid, values, values.dtype.type(0)), taps), values.dtype)
    known = np.ones(result.shape, np.bool_)
    if where.size:
        edge = [(_picked(index, where, result), _picked(weight, where, result)) for index, weight in taps]
        result.ravel()[where], known.ravel()[where] = _partly_valid(values, valid, edge)
    return result, known


def _picked(part: NDArray[Any], where: NDArray[np.intp], like: NDArray[Any]) -> NDArray[Any]:
    return np.broadcast_to(part, like.shape).ravel().take(where)


def _partly_valid(values: NDArray[Any], valid: NDArray[np.bool_], stencil: Iterable[_Tap]) -> Pixels:
    filled = np.where(valid, values, 0).astype(np.float64).ravel()
    weights = valid.astype(np.float64).ravel()
    total: Any = 0.0
    weight: Any = 0.0
    heaviest: Any = 0.0
    for index, part in stencil:
        weighted = part * weights.take(index)
        total = total + weighted * filled.take(index)
        weight = weight + weighted
        heaviest = np.maximum(heaviest, np.abs(weighted))
    known = (heaviest > 0) & (np.abs(weight) > 1e-9)
    return rounded(total / np.where(known, weight, 1.0), values.dtype), known


def _separable(mode: str, values: NDArray[Any], mapping: Mapping) -> NDArray[np.float64]:
    """First along x on the source's rows, then along y: this takes fewer products than a full stencil per pixel."""
    along: Any = 0.0
    for column, weight in _taps(mode, mapping.columns):
        along = along + values[:, column[0]] * weight
    total: Any = 0.0
    for row, weight in _taps(mode, mapping.rows):
        total = total + along[row[:, 0]] * weight
    return np.asarray(total, np.float64)


def _gathered(values: NDArray[Any], stencil: Iterable[_Tap]) -> NDArray[np.float64]:
    flat = values.ravel()
    total: Any = None
    for index, weight in stencil:
        part = flat.take(index) * weight
        total = part if total is None else np.add(total, part, out=total)
    return np.asarray(total, np.float64)


def sampled(mode: str, values: NDArray[Any], valid: NDArray[np.bool_], mapping: Mapping) -> Pixels:
    """Values and mask (height, width) at the positions of `mapping`, relative to the corner of values[0, 0]."""
    if mode == "nearest":
        return nearest(values, valid, mapping)
    return interpolated(mode, values, valid, mapping)
