"""Footprints in lon/lat: dense rings of UTM outlines, split at the antimeridian."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from sandbox.planet.geodesy import lonlat_from_utm
from sandbox.raster.longitudes import wrapped

F64 = NDArray[np.float64]


def dense_ring(corners: F64, parts: int = 4) -> F64:
    """The ring (n * parts, 2) through `corners` (n, 2), each side divided into `parts`; float64."""
    following = np.roll(corners, -1, axis=0)
    t = (np.arange(parts) / parts)[None, :, None]
    return np.asarray((corners[:, None] + (following - corners)[:, None] * t).reshape(-1, 2))


def footprint_of(corners_m: F64, epsg: int) -> BaseGeometry:
    """Lon/lat polygon (in two parts if it crosses the antimeridian) of a UTM outline (n, 2) float64, metres."""
    ring = dense_ring(corners_m)
    lon, lat = lonlat_from_utm(ring[:, 0], ring[:, 1], epsg)
    return wrapped(Polygon(np.stack([lon, lat], axis=1)))


def lonlat_boxes(region: BaseGeometry) -> list[tuple[float, float, float, float]]:
    """Bounds of a region as boxes (west, south, east, north) in degrees, with west in [-180, 180)."""
    parts = getattr(region, "geoms", [region])
    bounds = [part.bounds for part in parts if not part.is_empty]
    if len(bounds) > 16:
        bounds = [region.bounds]
    out = []
    for west, south, east, north in bounds:
        offset = np.floor((west + 180) / 360) * 360
        out.append((float(west - offset), float(south), float(east - offset), float(north)))
    return out


def touches(footprint: BaseGeometry, region: BaseGeometry | None) -> bool:
    """Whether they intersect; a region that leaves [-180, 180] goes on at the other side."""
    return region is None or bool(footprint.intersects(wrapped(region)))
