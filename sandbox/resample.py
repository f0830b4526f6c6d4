"""Pixels of a lattice at fractional positions: nearest, bilinear and bicubic, with masks.

A bilinear or bicubic value is the weighted mean of the valid pixels around it; it is masked where none of those
with a weight is valid. Integers are rounded to the nearest, so the band's type stays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.grids import Mapping

Pixels = tuple[NDArray[Any], NDArray[np.bool_]]

MARGINS = {"nearest": 0, "bilinear": 1, "bicubic": 2}
"""How many pixels around a position a mode looks at."""


def nearest(values: NDArray[Any], valid: NDArray[np.bool_], mapping: Mapping) -> Pixels:
    """The pixel that holds each position."""
    columns = np.floor(mapping.columns).astype(np.intp)
    rows = np.floor(mapping.rows).astype(np.intp)
    return values[rows, columns], valid[rows, columns]


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
    """(pixel index, weight) of each pixel that a position looks at along one axis."""
    base = np.floor(positions - 0.5)
    fraction = positions - 0.5 - base
    first = base.astype(np.intp)
    if mode == "bilinear":
        return [(first, 1.0 - fraction), (first + 1, fraction)]
    return [(first - 1 + i, weight) for i, weight in enumerate(_keys_weights(fraction))]


def _rounded(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.floor(values + 0.5), limits.min, limits.max).astype(dtype)


def interpolated(mode: str, values: NDArray[Any], valid: NDArray[np.bool_], mapping: Mapping) -> Pixels:
    """Bilinear or bicubic; every tap of `mapping` must lie inside `values`."""
    columns, rows = _taps(mode, mapping.columns), _taps(mode, mapping.rows)
    if valid.all():
        return _all_valid(values, columns, rows)
    filled = np.where(valid, values, 0).astype(np.float64)
    weights = valid.astype(np.float64)
    shape = np.broadcast_shapes(mapping.columns.shape, mapping.rows.shape)
    total, weight, heaviest = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for row, row_weight in rows:
        for column, column_weight in columns:
            share = row_weight * column_weight * weights[row, column]
            total += share * filled[row, column]
            weight += share
            heaviest = np.maximum(heaviest, np.abs(share))
    known = (heaviest > 0) & (np.abs(weight) > 1e-9)
    return _rounded(total / np.where(known, weight, 1.0), values.dtype), known


def _all_valid(values: NDArray[Any], columns: list[Any], rows: list[Any]) -> Pixels:
    separate = columns[0][0].shape[0] == 1 and rows[0][0].shape[1] == 1
    total = _separable(values, columns, rows) if separate else _gathered(values, columns, rows)
    return _rounded(total, values.dtype), np.ones(total.shape, dtype=np.bool_)


def _separable(values: NDArray[Any], columns: list[Any], rows: list[Any]) -> NDArray[np.float64]:
    """Along x on the source's rows, then along y: fewer products than at every output pixel."""
    along: Any = 0.0
    for column, weight in columns:
        along = along + values[:, column[0]] * weight
    total: Any = 0.0
    for row, weight in rows:
        total = total + along[row[:, 0]] * weight
    return np.asarray(total, np.float64)


def _gathered(values: NDArray[Any], columns: list[Any], rows: list[Any]) -> NDArray[np.float64]:
    total: Any = 0.0
    for row, row_weight in rows:
        along: Any = 0.0
        for column, column_weight in columns:
            along = along + values[row, column] * column_weight
        total = total + along * row_weight
    return np.asarray(total, np.float64)


def sampled(mode: str, values: NDArray[Any], valid: NDArray[np.bool_], mapping: Mapping) -> Pixels:
    """Pixels at the positions of `mapping`, which count from the corner of values[0, 0]."""
    if mode == "nearest":
        return nearest(values, valid, mapping)
    return interpolated(mode, values, valid, mapping)
