"""The shortest distance between two sets of points on Earth, by narrowing down cells in which its ends may lie.

Cells are cubes around the Earth, each halved along every axis again and again. Two cells are given up when the points
in them must be farther apart than a pair that was seen. The cost does not grow with the distance, as that of a search
by radius does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod

from pipeline.radius_index import Pairs, xyz_m

_GEOD = Geod(ellps="WGS84")
_LEVELS = 16
_WHOLE_M = 2 * 6.4e6  # holds the Earth
_AT_ONCE = 8192  # points of the smaller set, so that memory follows neither set
_RADIUS_M = 6.37e6


def smallest_distance_m(lonlat: NDArray[Any], others: NDArray[Any]) -> float:
    """The shortest geodesic, metres, between points (n, 2) and (m, 2) float64, degrees; infinite if one is empty."""
    if not len(lonlat) or not len(others):
        return float("inf")
    few, many = sorted((lonlat, others), key=len)
    cells, shortest_m, chord_m = _Cells.of(many), float("inf"), float("inf")
    for part in _parts(_Cells.of(few)):
        pairs, chord_m = _nearest(part, cells, chord_m)
        *_, metres = _GEOD.inv(*part.lonlat[pairs[0]].T, *cells.lonlat[pairs[1]].T)
        shortest_m = min(shortest_m, float(np.min(metres, initial=np.inf)))
    return shortest_m


@dataclass(frozen=True)
class _Cells:
    """Points in an order in which those of any cell follow one another.

    `codes` (n,) number their cells at the finest level, `lonlat` is (n, 2) in degrees, `xyz` (n, 3) in metres.
    """

    codes: NDArray[np.int64]
    lonlat: NDArray[np.float64]
    xyz: NDArray[np.float64]

    @classmethod
    def of(cls, lonlat: NDArray[Any]) -> Self:
        xyz = xyz_m(lonlat)
        codes = _codes(xyz)
        order = np.argsort(codes)
        return cls(codes[order], np.asarray(lonlat)[order], xyz[order])

    def starts(self, level: int) -> NDArray[np.int64]:
        """The first point of every cell of a level, and behind them the number of points; beyond, a cell is a point."""
        if level > _LEVELS:
            return np.arange(len(self.codes) + 1)
        cells = self.codes >> 3 * (_LEVELS - level)
        return np.concatenate([[0], np.flatnonzero(np.diff(cells)) + 1, [len(cells)]])


def _codes(xyz: NDArray[np.float64]) -> NDArray[np.int64]:
    """The finest cell (n,) of each point: bits of x, y and z in turn, so that a shift gives the coarser cells."""
    steps = ((xyz + _WHOLE_M / 2) * (2**_LEVELS / _WHOLE_M)).astype(np.int64)
    codes = np.zeros(len(xyz), dtype=np.int64)
    for bit in range(_LEVELS):
        for axis in range(3):
            codes |= (steps[:, axis] >> bit & 1) << 3 * bit + axis
    return codes


def _parts(cells: _Cells) -> Iterator[_Cells]:
    for start in range(0, len(cells.codes), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        yield _Cells(cells.codes[part], cells.lonlat[part], cells.xyz[part])


def _nearest(few: _Cells, many: _Cells, chord_m: float) -> tuple[Pairs, float]:
    """Pairs of points among which the nearest is, if it is nearer than `chord_m`; and the shortest chord so far."""
    one = np.zeros(1, dtype=np.int64)
    pairs, starts = (one, one), (few.starts(0), many.starts(0))
    for level in range(1, _LEVELS + 2):
        finer = few.starts(level), many.starts(level)
        pairs = _children(pairs, starts, finer)
        firsts = (few.xyz[finer[0][pairs[0]]], many.xyz[finer[1][pairs[1]]])
        chords = np.linalg.norm(firsts[0] - firsts[1], axis=1)
        chord_m = min(chord_m, float(np.min(chords, initial=np.inf)))
        # The first points of two cells stand for all of them, none of which is farther away than the diagonal.
        apart_m = 2 * 3**0.5 * _WHOLE_M / 2**level if level <= _LEVELS else 0.0
        near = chords - apart_m <= _surely_farther_m(chord_m)
        pairs, starts = (pairs[0][near], pairs[1][near]), finer
    return pairs, chord_m


def _surely_farther_m(chord_m: float) -> float:
    """The length from which chords belong to longer geodesics than this one: their ratio differs by place.

    A geodesic is about 1 + (chord / radius)^2 / 24 chords long, and radii of curvature differ by one in a hundred: an
    order of magnitude less than the share here, which holds for antipodes too.
    """
    return chord_m * (1 + 1e-9 + 0.005 * min(chord_m / _RADIUS_M, 2.0) ** 2)


def _children(pairs: Pairs, starts: Pairs, finer: Pairs) -> Pairs:
    """All pairs of the cells of the next level that lie in these cells."""
    (first, first_end), (second, second_end) = (
        (np.searchsorted(fine, start[which]), np.searchsorted(fine, start[which + 1]))
        for which, start, fine in zip(pairs, starts, finer, strict=True)
    )
    across = second_end - second
    count = (first_end - first) * across
    parent = np.repeat(np.arange(len(count)), count)
    number = np.arange(len(parent)) - np.repeat(np.cumsum(count) - count, count)
    return first[parent] + number // across[parent], second[parent] + number % across[parent]
