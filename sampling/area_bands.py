"""Bands for each of several areas: with an extent and an angle of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal
from sampling.splits import BandSplits, box_deg

_CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))


@dataclass(frozen=True)
class AreaBandSplits:
    """A rule of bands for each area. A place belongs to the first of `areas` whose extent holds it.

    Raises `Fatal` for a place that is in no extent.
    """

    areas: tuple[BandSplits, ...]

    def of(self, lonlat: NDArray[Any]) -> NDArray[np.str_]:
        """The split (n,) str of points (n, 2), degrees."""
        return self._by_area(lonlat, lambda bands, here: bands.of(here))

    def in_buffer(self, lonlat: NDArray[Any], distance_m: float) -> NDArray[np.bool_]:
        """Whether the box of `distance_m` each way around a point touches a band of another split.

        Between extents there may be a gap, so that one of twice the size must not touch another area either. Points are
        (n, 2), degrees: (n,) bool.
        """
        own, touching = (
            self._area_of(lonlat),
            self._by_area(lonlat, lambda bands, here: bands.in_buffer(here, distance_m)),
        )
        lat_deg, lon_deg = box_deg(lonlat, 2 * distance_m)
        for east, north in _CORNERS:
            area = self._holding(lonlat + np.column_stack([east * lon_deg, np.full(len(lonlat), north * lat_deg)]))
            touching |= (area >= 0) & (area != own)
        return touching

    def _by_area(self, lonlat: NDArray[Any], of: Callable[[BandSplits, NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
        """What each area's rule says of its own points."""
        area = self._area_of(lonlat)
        every = [of(bands, lonlat) for bands in self.areas]
        return np.asarray(np.choose(area, every))

    def _area_of(self, lonlat: NDArray[Any]) -> NDArray[np.int64]:
        area = self._holding(lonlat)
        if (area < 0).any():
            lon, lat = lonlat[area < 0][0]
            raise Fatal(f"the place at {lon:.4f}, {lat:.4f} is in no extent of split.areas; widen one, or add another.")
        return area

    def _holding(self, lonlat: NDArray[Any]) -> NDArray[np.int64]:
        """The first area (n,) that holds each point; -1 for none."""
        inside = np.array([bands.holds(lonlat) for bands in self.areas])
        return np.where(inside.any(axis=0), inside.argmax(axis=0), -1)
