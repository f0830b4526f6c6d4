"""The Equal Earth projection, in which equal areas look equal: for maps of the whole Earth."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

# Of the unit sphere. `+over`: outlines that run beyond 180 degrees are not torn to the other side.
_PIPELINE = "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad +step +proj=eqearth +R=1 +over"
HALF_WIDTH = 2.7066299836960748  # x of the antimeridian at the equator


def equal_earth(lonlat: NDArray[Any]) -> NDArray[np.float64]:
    """x and y (n, 2) float64, in radians of the unit sphere, of (lon, lat) (n, 2) float64, degrees."""
    return np.column_stack(_projection().transform(*np.asarray(lonlat, dtype=np.float64).T))


@cache
def _projection() -> Transformer:
    return Transformer.from_pipeline(_PIPELINE)
