"""WGS 84 in closed form: geographic, UTM and Earth-centred coordinates, vectorised and thread-safe.

Krueger's series to third order in n (Karney 2011, "Transverse Mercator with an accuracy of a few nanometers"),
with an error well below a millimetre in a zone and its neighbours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

A_M = 6378137.0
F = 1 / 298.257223563
E2 = F * (2 - F)
_E = np.sqrt(E2)
_N = F / (2 - F)
_RADIUS_M = A_M / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)
_ALPHA = (
    _N / 2 - 2 * _N**2 / 3 + 5 * _N**3 / 16 + 41 * _N**4 / 180,
    13 * _N**2 / 48 - 3 * _N**3 / 5 + 557 * _N**4 / 1440,
    61 * _N**3 / 240 - 103 * _N**4 / 140,
    49561 * _N**4 / 161280,
)
_BETA = (
    _N / 2 - 2 * _N**2 / 3 + 37 * _N**3 / 96 - _N**4 / 360,
    _N**2 / 48 + _N**3 / 15 - 437 * _N**4 / 1440,
    17 * _N**3 / 480 - 37 * _N**4 / 840,
    4397 * _N**4 / 161280,
)
_K0 = 0.9996
_HARMONICS = 2 * np.arange(1, 5)


def zone_of(lon: float) -> int:
    """The UTM zone (1 to 60) of a longitude, without the exceptions of Norway and Svalbard."""
    return int(((lon + 180) % 360) // 6) + 1


def epsg_of(zone: int, north: bool) -> int:
    return (32600 if north else 32700) + zone


def central_meridian(epsg: int) -> float:
    return (epsg % 100) * 6 - 183.0


def _false_northing(epsg: int) -> float:
    return 0.0 if epsg < 32700 else 10_000_000.0


def utm_from_lonlat(lon: F64, lat: F64, epsg: int) -> tuple[F64, F64]:
    """Easting and northing (m) in the zone of `epsg` (EPSG:326xx or EPSG:327xx)."""
    delta = np.radians((lon - central_meridian(epsg) + 180) % 360 - 180)
    sine = np.sin(np.radians(lat))
    tau = np.sinh(np.arctanh(sine) - _E * np.arctanh(_E * sine))
    xi = np.arctan2(tau, np.cos(delta))
    eta = np.arctanh(np.sin(delta) / np.sqrt(1 + tau * tau))
    east, north = eta.copy(), xi.copy()
    for k, alpha in enumerate(_ALPHA, start=1):
        north += alpha * np.sin(2 * k * xi) * np.cosh(2 * k * eta)
        east += alpha * np.cos(2 * k * xi) * np.sinh(2 * k * eta)
    scale = _K0 * _RADIUS_M
    return 500_000.0 + scale * east, _false_northing(epsg) + scale * north


def lonlat_from_utm(east_m: F64, north_m: F64, epsg: int) -> tuple[F64, F64]:
    """Longitude and latitude in degrees; the longitude is continuous across the zone (it may leave [-180, 180]).

    Arrays that broadcast, such as a row of eastings and a column of northings, cost less than those of every point.
    """
    xi0 = (north_m - _false_northing(epsg)) / (_K0 * _RADIUS_M)
    eta0 = (east_m - 500_000.0) / (_K0 * _RADIUS_M)
    turns, rises = (np.multiply.outer(_HARMONICS, angle) for angle in (xi0, eta0))
    xi, eta = xi0, eta0
    for beta, sine, cosine, cosh, sinh in zip(
        _BETA, np.sin(turns), np.cos(turns), np.cosh(rises), np.sinh(rises), strict=True
    ):
        xi = xi - beta * sine * cosh
        eta = eta - beta * cosine * sinh
    conformal = np.arcsin(np.sin(xi) / np.cosh(eta))
    delta = np.arctan2(np.sinh(eta), np.cos(xi))
    return central_meridian(epsg) + np.degrees(delta), np.degrees(_geodetic_latitude(conformal))


def _geodetic_latitude(conformal: F64) -> F64:
    target = np.tan(conformal)
    tau = target / (1 - E2)
    for _ in range(4):
        squared = tau * tau
        secant = np.sqrt(1 + squared)
        sigma = np.sinh(_E * np.arctanh(_E * (tau / secant)))
        value = tau * np.sqrt(1 + sigma * sigma) - sigma * secant
        slope = np.sqrt((1 + value * value) * (1 + squared)) * (1 - E2) / (1 + (1 - E2) * squared)
        tau = tau + (target - value) / slope
    return np.asarray(np.arctan(tau))


def earth_centred(lon: F64, lat: F64) -> F64:
    """Earth-centred x, y, z (3, ...) float64 in metres on the ellipsoid, rounded to a millimetre.

    The rounding removes differences in the last bit that SIMD instructions may give at different array positions.
    """
    sin_lat, cos_lat = np.sin(np.radians(lat)), np.cos(np.radians(lat))
    normal = A_M / np.sqrt(1 - E2 * sin_lat**2)
    x = normal * cos_lat * np.cos(np.radians(lon))
    y = normal * cos_lat * np.sin(np.radians(lon))
    return np.asarray(np.round(np.stack([x, y, normal * (1 - E2) * sin_lat]), 3))
