"""No two footprints overlap: of two candidates whose squares could touch, the one earlier in the order stays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.radius_index import RadiusIndex, chord_m, east_north_m, pairs_within

# A square pinned to the 10 m lattice moves by up to half a pixel each way; two of them, seen along a diagonal.
_SNAP_M = 10 * math.sqrt(2)
_SCALE = 1.0011  # UTM is 0.9996 on its meridian, so a square of n metres there is this much longer at most.
# How far grid north turns from true north, per sine of latitude: half a zone, and what scenes reach beyond it.
_TURN_DEG, _WIDE_TURN_DEG = 4.5, 8.0
_POLAR_NORTH_DEG, _POLAR_SOUTH_DEG = 83.0, -79.0


def clear_side_m(lonlat: NDArray[Any], side_m: float) -> NDArray[np.float64]:
    """How far apart, east or north, two squares of `side_m` have to be so that they cannot overlap; metres (n,).

    It holds whichever UTM zone, the place's own or a neighbouring one, a square is laid in: a square turned by an
    angle fits into one of true north that is longer by its cosine plus its sine. Wide zones (Norway, Svalbard)
    turn further, and near the poles, where UPS takes over, any angle is allowed for.
    """
    lon, lat = lonlat.T
    wide = (lat > 55) & (lon > -12) & (lon < 48)
    turn = np.radians(np.where(wide, _WIDE_TURN_DEG, _TURN_DEG) * np.abs(np.sin(np.radians(lat))))
    longer = np.where(_polar(lat), math.sqrt(2), np.cos(turn) + np.sin(turn))
    return side_m * longer * _SCALE + _SNAP_M


def _polar(lat: NDArray[Any]) -> NDArray[np.bool_]:
    return (lat > _POLAR_NORTH_DEG) | (lat < _POLAR_SOUTH_DEG)


def overlapping(lonlat: NDArray[Any], others: NDArray[Any], side_m: float) -> NDArray[np.bool_]:
    """Whether the squares round points (n, 2) and round their counterparts could overlap."""
    clear_m = np.maximum(clear_side_m(lonlat, side_m), clear_side_m(others, side_m))
    square: NDArray[np.bool_] = np.all(np.abs(east_north_m(lonlat, others)) < clear_m[:, None], axis=1)
    # East and north mean little at a pole: there, circles round the squares decide.
    polar = np.flatnonzero(_polar(lonlat[:, 1]) | _polar(others[:, 1]))
    square[polar] = chord_m(lonlat[polar], others[polar]) < clear_m[polar]
    return square


class OccupancyIndex:
    """What is taken already: places accepted so far, and whether new ones find room among them."""

    def __init__(self, side_m: float) -> None:
        self.side_m = side_m
        # The corner of the largest square that must stay clear.
        self._index = RadiusIndex((side_m * math.sqrt(2) * _SCALE + _SNAP_M) * math.sqrt(2))
        self._lonlat: NDArray[np.float64] = np.empty((0, 2))

    def claim(self, lonlat: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the points (n, 2), first come first served in their order, find room; those are then taken."""
        free = ~self._hit(lonlat)
        rows = np.flatnonzero(free)
        earlier, later = pairs_within(lonlat[rows], self._index.reach_m)
        near = overlapping(lonlat[rows[earlier]], lonlat[rows[later]], self.side_m)
        free[rows] = first_come(len(rows), earlier[near], later[near])
        self._take(lonlat[free])
        return free

    def _hit(self, lonlat: NDArray[Any]) -> NDArray[np.bool_]:
        which, member = self._index.near(lonlat)
        hit = np.zeros(len(lonlat), dtype=bool)
        hit[which[overlapping(lonlat[which], self._lonlat[member], self.side_m)]] = True
        return hit

    def _take(self, lonlat: NDArray[Any]) -> None:
        self._index.add(lonlat, np.arange(len(self._lonlat), len(self._lonlat) + len(lonlat)))
        self._lonlat = np.concatenate([self._lonlat, lonlat])


def first_come(count: int, earlier: NDArray[np.int64], later: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Who stays of 0 to count-1, taken in order, when of each pair (earlier, later) not both can.

    Equal to going through them one by one; decided in waves, of which random orders need few.
    """
    stays = np.zeros(count, dtype=bool)
    open_ = np.ones(count, dtype=bool)
    while open_.any():
        waiting = np.zeros(count, dtype=bool)
        waiting[later] = True
        stays |= open_ & ~waiting
        open_ &= waiting
        open_[later[stays[earlier]]] = False
        live = open_[later] & open_[earlier]
        earlier, later = earlier[live], later[live]
    return stays


def any_overlap(lonlat: NDArray[Any], side_m: float) -> int:
    """How many pairs of points (n, 2) have footprints that could overlap."""
    first, second = pairs_within(lonlat, (side_m * math.sqrt(2) * _SCALE + _SNAP_M) * math.sqrt(2))
    return int(overlapping(lonlat[first], lonlat[second], side_m).sum())
