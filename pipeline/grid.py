"""The pixel grid of a chip: a CRS, an origin on the Sentinel-2 lattice, a pixel size and a shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely import Polygon

from pipeline.sizes import CHIP_PX

LATTICE_M = 10.0  # Sentinel-2's finest pixels start at multiples of 10 m in every UTM zone.
WGS84 = "EPSG:4326"
Span = tuple[float, float]
# The UTM zones of Norway and Svalbard that are not 6 degrees wide, by span of latitude: zone number to its span of
# longitude, or None if the zone does not exist there. Spans are in degrees.
UNEVEN_ZONES: dict[Span, dict[int, Span | None]] = {
    (56, 64): {31: (0, 3), 32: (3, 12)},
    (72, 84): {31: (0, 9), 32: None, 33: (9, 21), 34: None, 35: (21, 33), 36: None, 37: (33, 42)},
}


@dataclass(frozen=True)
class Grid:
    """A north-up pixel grid. `origin_xy` is the outer corner of the upper-left pixel, in metres of `crs`.

    Methods raise pyproj's `CRSError` for a `crs` that PROJ does not know.
    """

    crs: str
    origin_xy: tuple[float, float]
    shape_yx: tuple[int, int] = (128, 128)
    resolution_m: float = LATTICE_M

    @classmethod
    def around(cls, lonlat: tuple[float, float], crs: str, size_px: int = CHIP_PX) -> Grid:
        """The square grid of `size_px` 10 m pixels on the lattice whose centre is nearest to `lonlat` (degrees)."""
        x, y = to_crs(crs).transform(*lonlat)
        half_m = size_px * LATTICE_M / 2
        return cls(crs, (_snap(x - half_m), _snap(y + half_m)), (size_px, size_px))

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Affine map from (column, row) to metres: x_scale, x_shear, x_origin, y_shear, y_scale, y_origin."""
        return self.resolution_m, 0.0, self.origin_xy[0], 0.0, -self.resolution_m, self.origin_xy[1]

    @property
    def bounds_xy(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top in metres of the CRS."""
        height, width = self.shape_yx
        left, top = self.origin_xy
        return left, top - height * self.resolution_m, left + width * self.resolution_m, top

    @property
    def centres_yx(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centres of the pixels, metres of the CRS: y (height,) from north, and x (width,) from west."""
        (height, width), (left, top) = self.shape_yx, self.origin_xy
        y, x = ((np.arange(count) + 0.5) * self.resolution_m for count in (height, width))
        return np.asarray(top - y, np.float64), np.asarray(left + x, np.float64)

    @property
    def centre_lonlat(self) -> tuple[float, float]:
        """Longitude and latitude of the centre, degrees."""
        left, bottom, right, top = self.bounds_xy
        lon, lat = to_lonlat(self.crs).transform((left + right) / 2, (bottom + top) / 2)
        return float(lon), float(lat)

    def footprint(self) -> Polygon:
        """The outline in lon/lat, straight between corners; across the antimeridian it runs beyond 180 degrees."""
        left, bottom, right, top = self.bounds_xy
        lon, lat = to_lonlat(self.crs).transform([left, right, right, left], [top, top, bottom, bottom])
        if max(lon) - min(lon) > 180:
            lon = [value + 360 if value < 0 else value for value in lon]
        return Polygon(zip(lon, lat, strict=True))


def _snap(metres: float) -> float:
    return round(metres / LATTICE_M) * LATTICE_M


@lru_cache(maxsize=256)
def to_crs(crs: str) -> Transformer:
    """From lon/lat (degrees) to x and y of `crs`, in this order even if the authority defines another."""
    return Transformer.from_crs(WGS84, crs, always_xy=True)


@lru_cache(maxsize=256)
def to_lonlat(crs: str) -> Transformer:
    """From x and y of `crs` to lon/lat (degrees)."""
    return Transformer.from_crs(crs, WGS84, always_xy=True)


def lonlat_of(crs: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Degrees (n, ..., 2) of points x and y (n, ...), metres, whose CRS are the texts `crs` (n,): one CRS at a time."""
    lonlat = np.empty((*x.shape, 2))
    numbers, names = pd.factorize(crs)
    for number, name in enumerate(names):
        here = numbers == number
        lonlat[here] = np.stack(to_lonlat(name).transform(x[here], y[here]), axis=-1)
    return lonlat


def centres_lonlat(
    crs: NDArray[Any], left: NDArray[Any], top: NDArray[Any], resolution: NDArray[Any], height: NDArray[Any],
    width: NDArray[Any],
) -> NDArray[np.float64]:  # fmt: skip
    """Degrees (n, 2) of the centres of grids, as `Grid.centre_lonlat` has one: metres of their CRS, and pixels."""
    return lonlat_of(crs, left + width * resolution / 2, top - height * resolution / 2)


def epsg_codes(crs: NDArray[Any]) -> NDArray[np.int32]:
    """The EPSG codes (n,) of the texts `crs` (n,), 0 for a CRS without one."""
    numbers, names = pd.factorize(crs)
    return np.array([epsg_code(name) for name in names], np.int32)[numbers]


@lru_cache(maxsize=256)
def epsg_code(crs: str) -> int:
    """The EPSG code of a CRS, 0 for one without."""
    authority, _, code = crs.partition(":")
    if authority.upper() == "EPSG" and code.isdecimal():
        return int(code)
    return CRS.from_user_input(crs).to_epsg(min_confidence=100) or 0  # a code that only resembles it is none


def utm_crs(lonlat: tuple[float, float]) -> str:
    """The EPSG code of the UTM zone of a point, with Norway's and Svalbard's exceptions; UPS beyond 84 N and 80 S."""
    lon, lat = lonlat
    if lat >= 84:
        return "EPSG:32661"
    if lat < -80:
        return "EPSG:32761"
    return f"EPSG:{(32600 if lat >= 0 else 32700) + _utm_zone(lon, lat)}"


def _utm_zone(lon: float, lat: float) -> int:
    here = (zones for (south, north), zones in UNEVEN_ZONES.items() if south <= lat < north)
    uneven = (number for zones in here for number, span in zones.items() if span and span[0] <= lon < span[1])
    return next(uneven, int(math.floor((lon + 180) / 6)) % 60 + 1)


def mgrs_crs(tile: str) -> str:
    """The EPSG code of an MGRS tile such as "32TQM": from its zone number, and northern from band N on.

    Raises ValueError for a name that does not begin with a zone number.
    """
    zone, band = int(tile[:-3]), tile[-3]
    return f"EPSG:{(32600 if band >= 'N' else 32700) + zone}"
