"""The squares on Earth that chips cover, and which of two sets are near each other or overlap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.grid import to_lonlat
from pipeline.manifest import Manifest
from pipeline.radius_index import Pairs, RadiusIndex, east_north_m

_SLACK_M = 20.0  # a geodesic and what a projection makes of it differ by less over the reach of a chip
_LEAST_OVERLAP_M2 = 1.0  # less is the rounding of coordinates, where chips of different zones share an edge
_CORNERS = np.array([(0, 0), (1, 0), (1, -1), (0, -1)], dtype=np.float64)  # from the upper left one, in sides


@dataclass(frozen=True)
class Footprints:
    """Squares of `side_m` metres: `crs` (n,) texts, upper left corners (n, 2) in it, centres (n, 2) in degrees."""

    side_m: float
    crs: NDArray[Any]
    corners_m: NDArray[np.float64]
    centres: NDArray[np.float64]

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Those of all chips of a manifest: some 60 bytes each."""
        side_m = manifest.size_px * manifest.resolution_m
        crs = manifest.column("crs")
        corners_m = np.column_stack([manifest.column("origin_x_m"), manifest.column("origin_y_m")])
        return cls(side_m, crs, corners_m, _lonlat(crs, corners_m + np.array([0.5, -0.5]) * side_m))

    def __len__(self) -> int:
        return len(self.crs)

    def __getitem__(self, rows: NDArray[Any]) -> Self:
        return type(self)(self.side_m, self.crs[rows], self.corners_m[rows], self.centres[rows])

    def near(self, others: Self, within_m: float) -> Iterator[Pairs]:
        """Pairs (row of these, row of the others), some at a time: all with squares within `within_m`, and more."""
        index = RadiusIndex(within_m + self.side_m * 2**0.5 + _SLACK_M)
        index.add(others.centres, np.arange(len(others)))
        return index.near_by_part(self.centres)

    def outlines_m(self, middles: NDArray[np.float64]) -> NDArray[Any]:
        """The squares (n,) as polygons in metres east and north of `middles` (n, 2), near points in degrees."""
        corners = (self.corners_m[:, None] + _CORNERS * self.side_m).reshape(-1, 2)
        lonlat = _lonlat(np.repeat(self.crs, len(_CORNERS)), corners)
        offsets = east_north_m(np.repeat(middles, len(_CORNERS), axis=0), lonlat)
        return np.asarray(shapely.polygons(offsets.reshape(-1, len(_CORNERS), 2)))


def gaps_m(some: Footprints, others: Footprints) -> NDArray[np.float64]:
    """How far the squares of each pair are apart (n,), metres; 0 where they touch or overlap."""
    return np.asarray(shapely.distance(some.outlines_m(some.centres), others.outlines_m(some.centres)))


def overlap(some: Footprints, others: Footprints) -> NDArray[np.bool_]:
    """Whether the squares of each pair have ground in common (n,): an edge is none."""
    apart_m = np.abs(some.corners_m - others.corners_m).max(axis=1)
    common = shapely.area(shapely.intersection(some.outlines_m(some.centres), others.outlines_m(some.centres)))
    return np.asarray(np.where(some.crs == others.crs, apart_m < some.side_m, common > _LEAST_OVERLAP_M2))


def _lonlat(crs: NDArray[Any], xy_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees (n, 2) of points (n, 2) in metres of their CRS (n,)."""
    lonlat = np.empty_like(xy_m)
    for name in sorted(set(crs.tolist())):
        here = crs == name
        lonlat[here] = np.column_stack(to_lonlat(name).transform(*xy_m[here].T))
    return lonlat
