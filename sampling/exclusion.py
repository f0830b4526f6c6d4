"""Excluded areas: footprints of evaluation sets, with a buffer in metres around them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.errors import Fatal
from sampling.regions import read_vector, repaired

# The ellipsoid's smallest radius of curvature: with it, distances in the plane are never longer than on the ground.
_RADIUS_M = 6335439.0
_LONGEST_EDGE_DEG = 0.1
_QUARTER_SEGMENTS = 16
# A circle drawn with so many straight edges is too small inside; the radius is multiplied by this.
_ROUNDER = 1 / np.cos(np.pi / (4 * _QUARTER_SEGMENTS))


class Exclusion:
    """Outlines in which no location may lie."""

    def __init__(self, outlines: NDArray[Any]) -> None:
        self._tree = shapely.STRtree(outlines)

    @classmethod
    def around(cls, geometries: NDArray[Any], distance_m: float) -> Exclusion:
        """Everything within `distance_m` of geometries (n,) in EPSG:4326; at most 1 % (of size and distance) more."""
        return cls(_grown(shapely.segmentize(geometries, _LONGEST_EDGE_DEG), distance_m))

    def holds(self, lonlat: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether each point (n, 2), degrees, lies in an outline: (n,) bool."""
        held = np.zeros(len(lonlat), dtype=bool)
        for turn_deg in (-360.0, 0.0, 360.0):
            which, _ = self._tree.query(shapely.points(lonlat[:, 0] + turn_deg, lonlat[:, 1]), predicate="intersects")
            held[which] = True
        return held


def read_exclusion(paths: Iterable[Path], buffer_m: float, side_m: float) -> Exclusion | None:
    """The exclusion that keeps squares of `side_m`, at any angle, `buffer_m` away from footprints; None without files.

    Raises `Fatal` that names the file which is absent, unreadable, without a CRS or empty.
    """
    geometries = [_geometries(path) for path in paths]
    if not geometries:
        return None
    return Exclusion.around(np.concatenate(geometries), buffer_m + side_m / np.sqrt(2) + 10.0)


def _geometries(path: Path) -> NDArray[Any]:
    frame = read_vector(path)
    if frame.crs is None:
        raise Fatal(f"{path} has no CRS, so its coordinates mean nothing; set it, for example to EPSG:4326.")
    geometry = _degrees(frame)
    footprints = geometry[~(shapely.is_missing(geometry) | shapely.is_empty(geometry))]
    if not len(footprints):
        raise Fatal(f"{path} has no footprints to exclude; give a file with at least one.")
    return footprints


def _degrees(frame: gpd.GeoDataFrame) -> NDArray[Any]:
    return repaired(np.asarray(frame.to_crs("EPSG:4326").geometry.array))


def _grown(geometries: NDArray[Any], distance_m: float) -> NDArray[Any]:
    """Geometries with a buffer, each in its own azimuthal equidistant plane (Snyder 1987, equations 25-1 to 25-5)."""
    bounds = shapely.bounds(geometries)
    centres = np.column_stack([bounds[:, [0, 2]].mean(axis=1), bounds[:, [1, 3]].mean(axis=1)])
    coordinates, owner = shapely.get_coordinates(geometries, return_index=True)
    plane = shapely.set_coordinates(geometries.copy(), _to_plane(coordinates, centres[owner]))
    # At angle c from the centre, the plane is stretched across the radius by c / sin c.
    corners = shapely.bounds(plane)
    far = np.minimum(np.hypot(*np.abs(corners).reshape(-1, 2, 2).max(axis=1).T) / _RADIUS_M, 3.0)
    metres = distance_m * _ROUNDER * np.maximum(far, 1e-9) / np.sin(np.maximum(far, 1e-9))
    wider = shapely.buffer(plane, metres, quad_segs=_QUARTER_SEGMENTS)
    return _on_earth(shapely.segmentize(wider, 10_000.0), centres)


def _to_plane(lonlat: NDArray[Any], centre: NDArray[Any]) -> NDArray[np.float64]:
    lon, lat = np.radians(lonlat[:, 0] - centre[:, 0]), np.radians(lonlat[:, 1])
    lat0 = np.radians(centre[:, 1])
    cosine = np.sin(lat0) * np.sin(lat) + np.cos(lat0) * np.cos(lat) * np.cos(lon)
    angle = np.arccos(np.clip(cosine, -1, 1))
    sine = np.sin(angle)
    scale = _RADIUS_M * np.divide(angle, sine, out=np.ones_like(angle), where=sine > 1e-12)
    y = np.cos(lat0) * np.sin(lat) - np.sin(lat0) * np.cos(lat) * np.cos(lon)
    return np.column_stack([scale * np.cos(lat) * np.sin(lon), scale * y])


def _on_earth(plane: NDArray[Any], centres: NDArray[Any]) -> NDArray[Any]:
    """Outlines in degrees, with longitudes continuous around the centre; one with a pole in it becomes a whole cap."""
    xy, owner = shapely.get_coordinates(plane, return_index=True)
    outlines = shapely.set_coordinates(plane.copy(), _to_lonlat(xy, centres[owner]))
    for lat_deg in (90.0, -90.0):
        poles = _to_plane(np.column_stack([centres[:, 0], np.full(len(centres), lat_deg)]), centres)
        for row in np.flatnonzero(shapely.contains_xy(plane, *poles.T)):
            south, north = shapely.bounds(outlines[row])[[1, 3]]
            outlines[row] = shapely.box(-180, *((south, 180, 90) if lat_deg > 0 else (-90, 180, north)))
    return outlines


def _to_lonlat(xy: NDArray[Any], centre: NDArray[Any]) -> NDArray[np.float64]:
    angle = np.hypot(*xy.T) / _RADIUS_M
    far = np.where(angle > 0, angle, 1.0) * _RADIUS_M
    lat0 = np.radians(centre[:, 1])
    lat = np.arcsin(np.clip(np.cos(angle) * np.sin(lat0) + xy[:, 1] * np.sin(angle) * np.cos(lat0) / far, -1, 1))
    across = xy[:, 0] * np.sin(angle)
    along = far * np.cos(lat0) * np.cos(angle) - xy[:, 1] * np.sin(lat0) * np.sin(angle)
    return np.column_stack([centre[:, 0] + np.degrees(np.arctan2(across, along)), np.degrees(lat)])
