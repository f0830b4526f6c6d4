"""Pixels of a lattice at fractional positions: nearest, bilinear and bicubic, with masks.

A bilinear or bicubic value is the weighted mean of the valid pixels around it; it is masked where none of those
with a weight is valid. Integers are rounded to the nearest, so the band's type is preserved.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.raster import masks
from sandbox.raster.grids import Mapping

Pixels = tuple[NDArray[Any], NDArray[np.bool_]]

MARGINS = {"nearest": 0, "bilinear": 1, "bicubic": 2}
"""How many pixels on each side of a position a mode reads."""


_SHORT = tuple(np.dtype(kind) for kind in (np.uint8, np.int8, np.uint16, np.int16))
_EXACT = 1 / 16  # 16 bits of a value and 4 of each axis' weight: the 24 bits of float32
_Taps = tuple[NDArray[np.intp], list[NDArray[Any]]]
_Weights = Iterable[tuple[int, NDArray[np.float64]]]
_Stencil = tuple[NDArray[np.intp], _Weights]
_CACHED_PIXELS = 512 * 512


def nearest(values: NDArray[Any], valid: NDArray[np.bool_], mapping: Mapping) -> Pixels:
    """The pixel that contains each position: values in their dtype and a bool mask, both (height, width)."""
    index = nearest_index(mapping, values.shape[1])
    known = masks.everywhere(index.shape) if masks.is_everywhere(valid) else masks.shared(valid.ravel().take(index))
    return values.ravel().take(index), known


def nearest_index(mapping: Mapping, width: int) -> NDArray[np.intp]:
    """The index (height, width) of each position in a flattened source of that width (shared: do not modify)."""
    return mapping.derived(width, _flat_index)


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


def _taps(mode: str, positions: NDArray[np.float64]) -> _Taps:
    """Along one axis, the index of the first pixel that contributes to each position, and the weights of it and of
    those that follow."""
    base = np.floor(positions - 0.5)
    fraction = positions - 0.5 - base
    if mode == "bilinear":
        return base.astype(np.intp), [1.0 - fraction, fraction]
    return base.astype(np.intp) - 1, _keys_weights(fraction)


def rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values, which are used up, in `dtype`: the nearest integers within its limits for an integer type."""
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    values += 0.5
    np.floor(values, out=values)
    return np.clip(values, limits.min, limits.max, out=values).astype(dtype)


def interpolated(mode: str, values: NDArray[Any], valid: NDArray[np.bool_], mapping: Mapping) -> Pixels:
    """Bilinear or bicubic values (in the dtype of `values`) and a bool mask, both (height, width).

    Every pixel that `mapping` reads must lie inside `values`.
    """
    if not masks.is_everywhere(masks.shared(valid)):
        return _masked(values, valid, *_stencil(mode, mapping, values.shape[1]))
    axes = mapping.derived(mode, _exact_axes) if values.dtype in _SHORT else None
    total = _separable(values, *axes) if axes else _gathered(values, *_stencil(mode, mapping, values.shape[1]))
    return rounded(total, values.dtype), masks.everywhere(total.shape)


def _stencil(mode: str, mapping: Mapping, width: int) -> _Stencil:
    """The index in the flattened source of the first pixel that contributes to each position, and the weights of it
    and of the others, each with its distance in the flattened source."""
    if mapping.columns.shape[-1] * mapping.rows.shape[0] > _CACHED_PIXELS:
        return _make_stencil(mapping, (mode, width))
    return mapping.derived((mode, width), _listed_stencil)


def _listed_stencil(mapping: Mapping, mode_and_width: tuple[str, int]) -> _Stencil:
    first, weights = _make_stencil(mapping, mode_and_width)
    return first, list(weights)


def _make_stencil(mapping: Mapping, mode_and_width: tuple[str, int]) -> _Stencil:
    mode, width = mode_and_width
    (column, across), (row, down) = mapping.derived(mode, _axes)
    return row * width + column, _weights(across, down, width)


def _axes(mapping: Mapping, mode: str) -> tuple[_Taps, _Taps]:
    return _taps(mode, mapping.columns), _taps(mode, mapping.rows)


def _weights(across: list[NDArray[np.float64]], down: list[NDArray[np.float64]], width: int) -> _Weights:
    for i, row_weight in enumerate(down):
        for j, column_weight in enumerate(across):
            yield i * width + j, row_weight * column_weight


def _masked(values: NDArray[Any], valid: NDArray[np.bool_], first: NDArray[np.intp], weights: _Weights) -> Pixels:
    """The fast computation for all positions, then the exact one for those that read an invalid pixel."""
    taps = list(weights)
    invalid = ~valid.ravel()
    touched = invalid.take(first)
    for away, _ in taps[1:]:
        touched |= invalid[away:].take(first)
    where = np.flatnonzero(touched)
    if 2 * where.size > touched.size:
        return _partly_valid(values, valid, first, taps)
    result = rounded(_gathered(np.where(valid, values, values.dtype.type(0)), first, taps), values.dtype)
    known = np.ones(result.shape, np.bool_)
    if where.size:
        edge = [(away, _picked(weight, where, result)) for away, weight in taps]
        result.ravel()[where], known.ravel()[where] = _partly_valid(values, valid, first.ravel().take(where), edge)
    return result, known


def _picked(part: NDArray[Any], where: NDArray[np.intp], like: NDArray[Any]) -> NDArray[Any]:
    return np.broadcast_to(part, like.shape).ravel().take(where)


def _partly_valid(values: NDArray[Any], valid: NDArray[np.bool_], first: NDArray[np.intp], weights: _Weights) -> Pixels:
    filled = np.where(valid, values, 0).astype(np.float64).ravel()
    counted = valid.astype(np.float64).ravel()
    total: Any = 0.0
    weight: Any = 0.0
    heaviest: Any = 0.0
    for away, part in weights:
        weighted = part * counted[away:].take(first)
        total = total + weighted * filled[away:].take(first)
        weight = weight + weighted
        heaviest = np.maximum(heaviest, np.abs(weighted))
    known = (heaviest > 0) & (np.abs(weight) > 1e-9)
    return rounded(total / np.where(known, weight, 1.0), values.dtype), known


def _exact_axes(mapping: Mapping, mode: str) -> tuple[_Taps, _Taps] | None:
    """The taps of both axes with weights in float32, if products with short integers and their sums are then exact.

    That is so between 20 m and 10 m. Elsewhere the two axes one after the other are not the stencil to the last bit.
    """
    if mapping.columns.shape[0] > 1 or mapping.rows.shape[1] > 1:
        return None
    (column, across), (row, down) = mapping.derived(mode, _axes)
    if any((weight % _EXACT).any() or weight.min() < 0 for weight in (*across, *down)):
        return None
    narrow = [[weight.astype(np.float32) for weight in axis] for axis in (across, down)]
    return (column[0], narrow[0]), (row[:, 0], narrow[1])


def _separable(values: NDArray[Any], columns: _Taps, rows: _Taps) -> NDArray[Any]:
    """First along x on the source's rows, then along y: this takes fewer products than a full stencil per pixel."""
    along = _summed(values.take(columns[0] + i, axis=1) * weight for i, weight in enumerate(columns[1]))
    return _summed(along.take(rows[0] + i, axis=0) * weight for i, weight in enumerate(rows[1]))


def _gathered(values: NDArray[Any], first: NDArray[np.intp], weights: _Weights) -> NDArray[Any]:
    flat = values.ravel().astype(np.float64, copy=False)
    return _summed(np.multiply(part := flat[away:].take(first), weight, out=part) for away, weight in weights)


def _summed(parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """The sum of fresh arrays, in the first of them."""
    terms = iter(parts)
    total = next(terms)
    for part in terms:
        total += part
    return total


def sampled(mode: str, values: NDArray[Any], valid: NDArray[np.bool_], mapping: Mapping) -> Pixels:
    """Values and mask (height, width) at the positions of `mapping`, relative to the corner of values[0, 0]."""
    if mode == "nearest":
        return nearest(values, valid, mapping)
    return interpolated(mode, values, valid, mapping)
