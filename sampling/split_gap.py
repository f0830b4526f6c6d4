"""Points that are too near to those of another split."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod

from pipeline.radius_index import RadiusIndex

_GEOD = Geod(ellps="WGS84")


def too_near(lonlat: NDArray[Any], others: NDArray[Any], reach_m: float) -> NDArray[np.bool_]:
    """Whether each of the points (n, 2) is nearer than `reach_m` to one of `others` (m, 2), degrees: (n,) bool."""
    near = np.zeros(len(lonlat), dtype=bool)
    if not len(lonlat) or not len(others):
        return near
    index = RadiusIndex(reach_m)
    index.add(others, np.arange(len(others)))
    for which, members in index.near_by_part(lonlat):
        *_, apart_m = _GEOD.inv(*lonlat[which].T, *others[members].T)
        near[which[np.asarray(apart_m) < reach_m]] = True
    return near
