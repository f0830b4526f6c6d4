"""Cells of the Major TOM grid: rows and columns about 10 km apart, counted from the equator and the prime meridian."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RADIUS_KM = 6378.137
_CELL_KM = 10.0
_ROWS = math.ceil(math.pi * _RADIUS_KM / _CELL_KM)  # from pole to pole


@dataclass(frozen=True)
class GridCells:
    """`row_u` and `col_r` (n,) int16: cells up from the equator and right of the prime meridian, below 0 otherwise."""

    row_u: NDArray[np.int16]
    col_r: NDArray[np.int16]

    @property
    def names(self) -> list[str]:
        """Such as "922D_249L": 922 down, 249 left."""
        pairs = zip(self.row_u.tolist(), self.col_r.tolist(), strict=True)
        return [f"{abs(row)}{'U' if row >= 0 else 'D'}_{abs(col)}{'R' if col >= 0 else 'L'}" for row, col in pairs]


def cells_of(lonlat: NDArray[np.float64]) -> GridCells:
    """The cells that hold points (n, 2), degrees: each is named by its south-western corner.

    Source: Francis and Czerkawski 2024, "Major TOM: Expandable Datasets for Earth Observation".

    >>> cells_of(np.array([[0.01, 0.01], [-0.01, -0.01]])).names
    ['0U_0R', '1D_1L']
    """
    lon, lat = lonlat[:, 0], lonlat[:, 1]
    height = 180 / _ROWS
    row = np.clip(np.floor(lat / height), -(_ROWS // 2), _ROWS // 2 - 1)
    # The columns of a row are as many as its southern edge has room for.
    columns = np.maximum(1, np.ceil(2 * math.pi * _RADIUS_KM * np.cos(np.radians(row * height)) / _CELL_KM))
    return GridCells(row.astype(np.int16), np.floor(lon / (360 / columns)).astype(np.int16))
