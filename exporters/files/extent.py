"""Where a raster lies, as a box of longitude and latitude that holds all of it and little more."""

from __future__ import annotations

import numpy as np
from pyproj import Transformer

from exporters.files.lattice import Lattice
from pipeline.grid import WGS84

Box = tuple[float, float, float, float]
_EVERYWHERE: Box = (-180.0, -90.0, 180.0, 90.0)
_SAMPLES = 17  # along each side
_MARGIN = 0.02  # of the box: what edges may bulge between samples
_NEAR_POLE_DEG = 70.0


def extent_of(lattice: Lattice, shape_yx: tuple[int, int]) -> Box:
    """West, south, east, north in degrees of a raster of `shape_yx` pixels.

    East is beyond 180 where it crosses the antimeridian. What holds a pole, or points that are not on Earth, gets all
    longitudes.
    """
    lon, lat = _sampled(lattice, shape_yx)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return _EVERYWHERE
    if not lattice.turns:
        lon = np.rad2deg(np.unwrap(np.unwrap(np.deg2rad(lon), axis=0), axis=1))
    west, east, south, north = float(lon.min()), float(lon.max()), float(lat.min()), float(lat.max())
    if east - west > 180 and not lattice.turns:
        return _around_the_pole(south, north)
    across, up = _MARGIN * (east - west), _MARGIN * (north - south)
    return west - across, south - up, east + across, north + up


def _sampled(lattice: Lattice, shape_yx: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude (rows, columns) of points spread over the raster, its border among them."""
    rows, columns = (np.linspace(0, size, _SAMPLES) for size in shape_yx)
    column, row = np.meshgrid(columns, rows)
    a, b, c, d, e, f = lattice.transform
    to_lonlat = Transformer.from_crs(lattice.crs, WGS84, always_xy=True)
    lon, lat = to_lonlat.transform(a * column + b * row + c, d * column + e * row + f)
    return np.asarray(lon), np.asarray(lat)


def _around_the_pole(south: float, north: float) -> Box:
    return (
        -180.0,
        -90.0 if south < -_NEAR_POLE_DEG else max(-90.0, south - 1),
        180.0,
        90.0 if north > _NEAR_POLE_DEG else min(90.0, north + 1),
    )
