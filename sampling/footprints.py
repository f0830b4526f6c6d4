"""No two footprints overlap: of two candidates whose squares could overlap, the earlier one stays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.radius_index import RadiusIndex, chord_m, east_north_m, pairs_within

# Snapping to the 10 m lattice moves a square by up to half a pixel each way; this is for two squares, diagonally.
_SNAP_M = 10 * math.sqrt(2)
_SCALE = 1.0011  # The scale of UTM is 0.9996 on its meridian: a square of n metres is at most this much longer.
# From a zone's meridian to its border, and how far beyond that a scene of 110 km reaches that just touches the zone.
_HALF_ZONE_DEG, _WIDE_HALF_ZONE_DEG, _BEYOND_M = 3.0, 6.0, 110_000.0
_DEGREE_M = 111_000.0  # of longitude at the equator, and a little less than that
# Turns were taken to be no smaller than this once: draws at lower latitudes stay as they were.
_LEAST_TURN_DEG = 4.5
_POLAR_NORTH_DEG, _POLAR_SOUTH_DEG = 83.0, -79.0


def clear_side_m(lonlat: NDArray[Any], side_m: float) -> NDArray[np.float64]:
    """The distance (n,) float64, metres, east or north, beyond which two squares of `side_m` cannot overlap.

    `lonlat` is (n, 2) float64, degrees. The distance holds for a square in the UTM zone of its location or in a
    neighbouring zone: a square turned by an angle fits into a square towards true north whose side is larger by the
    factor cosine plus sine. The wide zones of Norway and Svalbard turn further. Near the poles, where UPS is used, the
    square may have any angle.
    """
    turn = np.radians(_largest_turn_deg(lonlat, side_m))
    longer = np.where(_polar(lonlat[:, 1]), math.sqrt(2), np.cos(turn) + np.sin(turn))
    return side_m * longer * _SCALE + _SNAP_M


def _largest_turn_deg(lonlat: NDArray[Any], side_m: float) -> NDArray[np.float64]:
    """The largest angle (n,), degrees, from the grid's north to true north in the middle between two squares.

    The grid's north turns by atan(tan(degrees from the meridian) sin(latitude)) (Snyder 1987, page 64).
    """
    lon, lat = lonlat.T
    wide = (lat > 55) & (lon > -12) & (lon < 48)
    degree_m = _DEGREE_M * np.cos(np.radians(np.clip(lat, _POLAR_SOUTH_DEG, _POLAR_NORTH_DEG)))
    off_deg = np.where(wide, _WIDE_HALF_ZONE_DEG, _HALF_ZONE_DEG) + _BEYOND_M / degree_m
    sine = np.abs(np.sin(np.radians(lat)))
    turn_deg = np.degrees(np.arctan(np.tan(np.radians(off_deg)) * sine))
    # Squares that touch are at most a diagonal apart; true north of either turns by half of that against the middle.
    between_deg = side_m * math.sqrt(2) / 2 / degree_m
    return np.asarray(np.maximum(turn_deg, _LEAST_TURN_DEG * sine) + between_deg * sine)


def _polar(lat: NDArray[Any]) -> NDArray[np.bool_]:
    return (lat > _POLAR_NORTH_DEG) | (lat < _POLAR_SOUTH_DEG)


def overlapping(lonlat: NDArray[Any], others: NDArray[Any], side_m: float) -> NDArray[np.bool_]:
    """Whether squares around points (n, 2) and around `others` (n, 2), degrees, could overlap pairwise: (n,) bool."""
    clear_m = np.maximum(clear_side_m(lonlat, side_m), clear_side_m(others, side_m))
    square: NDArray[np.bool_] = np.all(np.abs(east_north_m(lonlat, others)) < clear_m[:, None], axis=1)
    # East and north are not useful near a pole; there, circles around the squares decide.
    polar = np.flatnonzero(_polar(lonlat[:, 1]) | _polar(others[:, 1]))
    square[polar] = chord_m(lonlat[polar], others[polar]) < clear_m[polar]
    return square


class OccupancyIndex:
    """The locations accepted so far, and a test whether new ones have room among them."""

    def __init__(self, side_m: float) -> None:
        self.side_m = side_m
        # The distance to the corner of the largest square that must stay free.
        self._index = RadiusIndex((side_m * math.sqrt(2) * _SCALE + _SNAP_M) * math.sqrt(2))
        self._lonlat: NDArray[np.float64] = np.empty((0, 2))

    def claim(self, lonlat: NDArray[Any]) -> NDArray[np.bool_]:
        """Which points (n, 2), degrees, have room, in their order (first come, first served): (n,) bool.

        These are added to the index.
        """
        free = ~self.overlaps(lonlat)
        rows = np.flatnonzero(free)
        earlier, later = pairs_within(lonlat[rows], self._index.reach_m)
        near = overlapping(lonlat[rows[earlier]], lonlat[rows[later]], self.side_m)
        free[rows] = first_come(len(rows), earlier[near], later[near])
        self._add(lonlat[free])
        return free

    def occupy(self, lonlat: NDArray[Any]) -> None:
        """Add points (n, 2), degrees, that are there already, whether they overlap or not."""
        self._add(np.asarray(lonlat, dtype=np.float64))

    def overlaps(self, lonlat: NDArray[Any]) -> NDArray[np.bool_]:
        """Which points (n, 2), degrees, have no room: (n,) bool."""
        which, member = self._index.near(lonlat)
        overlaps = np.zeros(len(lonlat), dtype=bool)
        overlaps[which[overlapping(lonlat[which], self._lonlat[member], self.side_m)]] = True
        return overlaps

    def _add(self, lonlat: NDArray[Any]) -> None:
        self._index.add(lonlat, np.arange(len(self._lonlat), len(self._lonlat) + len(lonlat)))
        self._lonlat = np.concatenate([self._lonlat, lonlat])


def first_come(count: int, earlier: NDArray[np.int64], later: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which items 0 to count-1 stay (count,) bool, in this order, if only one of each pair (earlier, later) can.

    `earlier` and `later` are (pairs,) int64. The result is that of a loop over the items. It is found in rounds, of
    which a random order needs few.
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
    """How many pairs of points (n, 2), degrees, have footprints of `side_m` that could overlap."""
    first, second = pairs_within(lonlat, (side_m * math.sqrt(2) * _SCALE + _SNAP_M) * math.sqrt(2))
    return int(overlapping(lonlat[first], lonlat[second], side_m).sum())
