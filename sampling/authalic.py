"""Equal-area geometry on the WGS84 ellipsoid: points uniform in authalic height and longitude are uniform by area."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

_E2 = 0.0066943799901413165  # WGS84, first eccentricity squared.
_E = math.sqrt(_E2)
_SEMI_MAJOR_KM = 6378.137
# Straight edges in longitude and latitude are curved on the equal-area plane; for segments this short, negligibly.
_STEP_DEG = 0.25


def _q(lat_deg: NDArray[Any] | float) -> NDArray[np.float64]:
    """Snyder (1987), Map Projections: A Working Manual, equation 3-12."""
    sine = np.sin(np.radians(lat_deg))
    ratio = np.arctanh(_E * sine) / _E
    return np.asarray((1 - _E2) * (sine / (1 - _E2 * sine**2) + ratio))


_Q_POLE = float(_q(90.0))
SURFACE_KM2 = 2 * math.pi * _SEMI_MAJOR_KM**2 * _Q_POLE
_INVERSE = (
    _E2 / 3 + 31 * _E2**2 / 180 + 517 * _E2**3 / 5040,
    23 * _E2**2 / 360 + 251 * _E2**3 / 3780,
    761 * _E2**3 / 45360,
)


def height_of(lat_deg: NDArray[Any] | float) -> NDArray[np.float64]:
    """Sine of the authalic latitude, -1 to 1, float64, of latitudes in degrees (any shape).

    The fraction of Earth's surface between two heights is half their difference.
    """
    return _q(lat_deg) / _Q_POLE


def latitude_of(height: NDArray[Any] | float) -> NDArray[np.float64]:
    """Geodetic latitude, degrees, float64, of heights from `height_of`; by Snyder's series 3-18, within 0.2 m."""
    beta = np.arcsin(np.clip(height, -1.0, 1.0))
    first, second, third = _INVERSE
    return np.degrees(beta + first * np.sin(2 * beta) + second * np.sin(4 * beta) + third * np.sin(6 * beta))


def areas_km2(polygons: NDArray[Any]) -> NDArray[np.float64]:
    """Areas (n,) float64, km2, on the ellipsoid, of polygons (n,) with edges straight in longitude and latitude."""
    fine = shapely.segmentize(polygons, _STEP_DEG)
    plane = shapely.transform(fine, lambda lonlat: np.column_stack([lonlat[:, 0] / 360, height_of(lonlat[:, 1]) / 2]))
    return np.asarray(shapely.area(plane) * SURFACE_KM2)
