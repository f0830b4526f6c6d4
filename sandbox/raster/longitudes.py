"""Shapes around the antimeridian and the poles: longitudes without jumps, and the same shapes within [-180, 180]."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

from sandbox.raster import grids
from sandbox.raster.grids import LONLAT, Coordinates, PixelGrid
from sandbox.raster.stored import Band, Projection, Valid, Values, Window

_FAR_EDGE = 1e-9  # degrees; a shape that ends this near to 180 degrees touches it
_CLOSED = 0.01  # pixels by which 360 degrees may differ from a whole number of them


def lonlat_of(shape: BaseGeometry, crs: str) -> BaseGeometry:
    """A projected shape in degrees, in [-180, 180] and in parts where it crosses the antimeridian.

    A polygon around a pole reaches up to that pole.
    """
    return wrapped(_continuous(grids.project(shape, crs, LONLAT)))


def _continuous(shape: BaseGeometry) -> BaseGeometry:
    """Polygons whose rings run on beyond 180 degrees in place of jumping to -180."""
    parts = getattr(shape, "geoms", [shape])
    if not any(part.geom_type == "Polygon" and part.bounds[2] - part.bounds[0] > 180 for part in parts):
        return shape
    rings = [_unwound(np.asarray(part.exterior.coords)) for part in parts if part.geom_type == "Polygon"]
    return shapely.union_all([Polygon(ring) for ring in rings])


def _unwound(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """A closed ring (n, 2) in degrees without jumps; one that goes around a pole gets the pole's edge."""
    lon, lat = np.unwrap(ring[:, 0], period=360.0), ring[:, 1]
    turned = lon[-1] - lon[0]
    if abs(turned) < 180:
        return np.column_stack([lon, lat])
    pole = 90.0 if lat.mean() > 0 else -90.0
    return np.column_stack([[*lon, lon[-1], lon[0]], [*lat, pole, pole]])


def wrapped(shape: BaseGeometry) -> BaseGeometry:
    """A shape whose longitudes may leave [-180, 180], split and shifted into that range."""
    if shape.is_empty:
        return shape
    west, _, east, _ = shape.bounds
    if west >= -180 and east <= 180:
        return shape
    turns = range(int(np.floor((west + 180) / 360)), int(np.floor((east + 180 - _FAR_EDGE) / 360)) + 1)
    parts = [
        shapely.affinity.translate(shape.intersection(box(360 * k - 180, -90, 360 * k + 180, 90)), -360 * k)
        for k in turns
    ]
    pieces = [piece for part in parts if not part.is_empty for piece in getattr(part, "geoms", [part])]
    return _gathered(pieces)


def _gathered(pieces: list[BaseGeometry]) -> BaseGeometry:
    if len(pieces) == 1:
        return pieces[0]
    if all(piece.geom_type == "Polygon" for piece in pieces):
        return MultiPolygon(pieces)
    return shapely.GeometryCollection(pieces)


def joined(shape: BaseGeometry) -> BaseGeometry:
    """The parts of a shape that `wrapped` has split, side by side again; longitudes may then exceed 180."""
    parts = list(getattr(shape, "geoms", [shape]))
    west, _, east, _ = shape.bounds if not shape.is_empty else (0.0, 0.0, 0.0, 0.0)
    if len(parts) < 2 or west > -180 + _FAR_EDGE or east < 180 - _FAR_EDGE or any(_is_wide(part) for part in parts):
        return shape
    moved = [shapely.affinity.translate(part, 360) if part.bounds[2] < 0 else part for part in parts]
    return shapely.union_all(moved)


def _is_wide(part: BaseGeometry) -> bool:
    return bool(part.bounds[2] - part.bounds[0] > 180)


def near(lon: Any, centre: float) -> Any:
    """Longitudes moved by whole turns to within 180 degrees of a centre."""
    return centre + (np.asarray(lon) - centre + 180.0) % 360.0 - 180.0


@lru_cache(maxsize=4096)
def middle_of(native: Projection, extent: Window | None) -> float | None:
    """The longitude in the middle of a part of a lattice; None around the Earth, or where x is no longitude."""
    if extent is None or not grids.geographic(native.crs) or circle(native, extent.width) is not None:
        return None
    return float(grids.apply(native.transform, extent.column + extent.width / 2, extent.row)[0])


def is_turned(grid: PixelGrid, native: Projection, middle: float | None) -> bool:
    """Whether part of a grid in a lattice's own CRS lies more than half a turn from the middle of its pixels."""
    if middle is None or grid.crs != native.crs:
        return False
    west, _, east, _ = grid.outline().bounds
    return bool(west < middle - 180 or east > middle + 180)


def turned(lon: Coordinates, centre: float | None) -> Coordinates:
    """Longitudes within 180 degrees of a centre (None: of the first that is known); those that are stay as they are
    to the last bit."""
    known = lon[np.isfinite(lon)] if centre is None else lon
    if known.size == 0:
        return lon
    middle = float(known.flat[0]) if centre is None else centre
    if lon.min() >= middle - 180 and lon.max() <= middle + 180:
        return lon
    with np.errstate(invalid="ignore"):
        return np.asarray(lon - 360.0 * np.round((lon - middle) / 360.0))


def circle(projection: Projection, columns: int) -> int | None:
    """How many columns make 360 degrees, or None where a lattice of so many does not go around the Earth."""
    step = abs(projection.transform[0])
    whole = round(360 / step) if step < 360 else 0
    around = grids.geographic(projection.crs) and 0 < whole <= columns and abs(whole * step - 360) < _CLOSED * step
    return whole if around else None


def read_around(band: Band, window: Window) -> tuple[Values, Valid]:
    """A window of a band whose rows go around the Earth: columns beyond its last are those of its first."""
    shape: tuple[int, int] | None = getattr(band, "shape", None)
    if shape is None or 0 <= window.column <= shape[1] - window.width:
        return band.read(window)
    whole = circle(band.projection, shape[1])
    if whole is None:
        return band.read(window)
    start, end = window.column, window.column + window.width
    edges = [start, *range((start // whole + 1) * whole, end, whole), end]
    parts = [
        band.read(Window(first % whole, window.row, last - first, window.height))
        for first, last in zip(edges[:-1], edges[1:], strict=True)
    ]
    values, valid = (np.concatenate([part[k] for part in parts], axis=1) for k in (0, 1))
    return values, valid
