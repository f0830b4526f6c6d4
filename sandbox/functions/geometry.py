"""Geometries and their algorithms: planar coordinates in a CRS, measured on the WGS84 ellipsoid.

Edges are straight in the geometry's own coordinates (lon/lat edges are not densified to great circles).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from pyproj import Geod, Transformer
from shapely.geometry import LineString, MultiLineString, MultiPoint, MultiPolygon, Point, Polygon, mapping
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import LinearRing

from sandbox.errors import EarthEngineError
from sandbox.raster import grids, longitudes
from sandbox.raster.grids import LONLAT
from sandbox.raster.stored import Projection
from sandbox.registry import algorithm

_GEOD = Geod(ellps="WGS84")
_CIRCLE_AZIMUTHS = np.linspace(0.0, 360.0, 128, endpoint=False)
_EDGE_M = 5_000.0


def box(west: float, south: float, east: float, north: float) -> Polygon:
    """A rectangle in degrees, counter-clockwise from its south-west corner, as Earth Engine writes it."""
    return Polygon([(west, south), (east, south), (east, north), (west, north)])


@dataclass(frozen=True, eq=False)
class Geometry:
    """A shape in the coordinates of `crs`."""

    shape: BaseGeometry
    crs: str = LONLAT
    geodesic: bool = field(default=True)

    @cached_property
    def lonlat(self) -> BaseGeometry:
        """The shape in lon/lat degrees; the edges of a projected shape get more vertices first."""
        if self.crs == LONLAT:
            return self.shape
        if grids.geographic(self.crs):
            return grids.project(self.shape, self.crs, LONLAT)
        return longitudes.lonlat_of(self.shape.segmentize(_EDGE_M), self.crs)

    @cached_property
    def wrapped(self) -> BaseGeometry:
        """The shape in lon/lat degrees within [-180, 180], as all shapes are that are compared."""
        return longitudes.wrapped(self.lonlat)

    def in_crs(self, crs: str) -> BaseGeometry:
        """The shape in another CRS; edges that may become curved get more vertices."""
        if crs == self.crs:
            return self.shape
        if self.crs == LONLAT:
            left, bottom, right, top = self.shape.bounds if not self.shape.is_empty else (0, 0, 0, 0)
            step = max(right - left, top - bottom) / 32
            shape = self.shape.segmentize(step) if step > 0 else self.shape
            return grids.project(shape, LONLAT, crs)
        return grids.project(self.lonlat, LONLAT, crs)

    def geojson(self) -> dict[str, Any]:
        """GeoJSON with lists, and with `crs` and `geodesic` if they are not the default."""
        document = _lists(mapping(self.shape))
        if self.crs != LONLAT:
            document["crs"] = {"type": "name", "properties": {"name": self.crs}}
        if not self.geodesic and self.shape.geom_type not in ("Point", "MultiPoint"):
            document["geodesic"] = False
        return dict(document)


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, (tuple, list)) else value


def geometry_from_geojson(document: dict[str, Any]) -> Geometry:
    """A geometry from a client's GeoJSON (region parameters, features). Raises EarthEngineError when it is invalid."""
    crs = document.get("crs", LONLAT)
    code = crs["properties"]["name"] if isinstance(crs, dict) else crs
    try:
        shape = shapely.geometry.shape({k: v for k, v in document.items() if k in _GEOJSON_KEYS})
    except Exception as error:
        raise EarthEngineError(f"Invalid GeoJSON geometry: {error}.") from error
    return _on_earth(
        Geometry(shape, str(code).replace("CRS:84", LONLAT), bool(document.get("geodesic", True))), "Geometry"
    )


_GEOJSON_KEYS = ("type", "coordinates", "geometries")


def _crs_code(crs: Projection | None) -> str:
    return crs.crs if crs is not None else LONLAT


def _flat_pairs(coordinates: list[Any]) -> list[Any]:
    if coordinates and all(isinstance(item, (int, float)) for item in coordinates):
        return [list(pair) for pair in zip(coordinates[::2], coordinates[1::2], strict=False)]
    return [item.shape.coords[0] if isinstance(item, Geometry) else item for item in coordinates]


def _ring(coordinates: list[Any]) -> LinearRing:
    return LinearRing(_flat_pairs(coordinates))


def _polygon(rings: list[Any]) -> Polygon:
    if not rings:
        return Polygon()
    if isinstance(rings[0], Geometry):
        rings = [list(ring.shape.coords) for ring in rings]
    if not isinstance(rings[0], (list, tuple)) or not isinstance(rings[0][0], (list, tuple)):
        rings = [rings]
    outer, *holes = (_ring(ring) for ring in rings)
    polygon = Polygon(outer, holes)
    return polygon if polygon.is_valid else shapely.make_valid(polygon)


def _built(build: Callable[[], BaseGeometry], name: str, crs: Projection | None, geodesic: Any = None) -> Geometry:
    """The geometry of a constructor; raises EarthEngineError (400) for coordinates that are none."""
    try:
        shape = build()
    except (ValueError, TypeError, IndexError, shapely.errors.GEOSException) as error:
        raise EarthEngineError(f"GeometryConstructors.{name}: Invalid coordinates: {error}.") from error
    return _on_earth(Geometry(shape, _crs_code(crs), _planar(crs, geodesic)), f"GeometryConstructors.{name}")


def _on_earth(geometry: Geometry, name: str) -> Geometry:
    """The geometry; raises EarthEngineError (400) where a latitude in degrees lies beyond a pole."""
    if geometry.crs == LONLAT and not geometry.shape.is_empty:
        _, south, _, north = geometry.shape.bounds
        if south < -90 or north > 90:
            beyond = north if north > 90 else south
            raise EarthEngineError(f"{name}: Invalid latitude {beyond:g}: it must be between -90 and 90 degrees.")
    return geometry


@algorithm("GeometryConstructors.Point")
def point(coordinates: list[float], crs: Projection | None) -> Geometry:
    if len(coordinates) < 2 or any(number is None for number in coordinates):
        raise EarthEngineError("GeometryConstructors.Point: Invalid point coordinates.")
    return _built(lambda: Point(float(coordinates[0]), float(coordinates[1])), "Point", crs)


@algorithm("GeometryConstructors.MultiPoint")
def multi_point(coordinates: list[Any], crs: Projection | None) -> Geometry:
    return _built(lambda: MultiPoint(_flat_pairs(coordinates)), "MultiPoint", crs)


def _planar(crs: Projection | None, geodesic: bool | None) -> bool:
    return geodesic if geodesic is not None else crs is None or crs.crs == LONLAT


@algorithm("GeometryConstructors.LineString", "GeometryConstructors.LinearRing")
def line_string(coordinates: list[Any], crs: Projection | None, geodesic: bool | None, error: Any) -> Geometry:
    return _built(lambda: LineString(_flat_pairs(coordinates)), "LineString", crs, geodesic)


@algorithm("GeometryConstructors.MultiLineString")
def multi_line_string(coordinates: list[Any], crs: Projection | None, geodesic: Any, error: Any) -> Geometry:
    return _built(
        lambda: MultiLineString([_flat_pairs(line) for line in coordinates]), "MultiLineString", crs, geodesic
    )


@algorithm("GeometryConstructors.Polygon")
def polygon(rings: list[Any], crs: Projection | None, geodesic: Any, error: Any, even_odd: Any) -> Geometry:
    return _built(lambda: _polygon(rings), "Polygon", crs, geodesic)


@algorithm("GeometryConstructors.MultiPolygon")
def multi_polygon(parts: list[Any], crs: Projection | None, geodesic: Any, error: Any, even_odd: Any) -> Geometry:
    def build() -> BaseGeometry:
        polygons = [part.shape if isinstance(part, Geometry) else _polygon(part) for part in parts]
        joined = shapely.union_all(polygons)
        return joined if joined.geom_type != "Polygon" else MultiPolygon([joined])

    return _built(build, "MultiPolygon", crs, geodesic)


@algorithm("GeometryConstructors.Rectangle")
def rectangle(coordinates: list[Any], crs: Projection | None, geodesic: Any, even_odd: Any) -> Geometry:
    (west, south), (east, north) = _flat_pairs(coordinates)[:2]
    if crs is not None and crs.transform != (1.0, 0.0, 0.0, 0.0, 1.0, 0.0):
        # The coordinates of a rectangle with a projection are pixels of that projection.
        (west, south), (east, north) = grids.apply(crs.transform, west, south), grids.apply(crs.transform, east, north)
    shape = box(min(west, east) if crs else west, min(south, north), max(west, east) if crs else east,
                max(south, north))  # fmt: skip
    return _built(lambda: shape, "Rectangle", crs, geodesic)


@algorithm("GeometryConstructors.BBox")
def bbox(west: float, south: float, east: float, north: float) -> Geometry:
    """A box whose latitudes end at the poles: beyond them they are taken as 90 degrees (docs of ee.Geometry.BBox)."""
    return Geometry(box(west, max(south, -90), east if east >= west else east + 360, min(north, 90)), LONLAT, False)


@algorithm("GeometryConstructors.MultiGeometry")
def multi_geometry(parts: list[Geometry], crs: Projection | None, geodesic: Any, error: Any) -> Geometry:
    return Geometry(shapely.GeometryCollection([part.lonlat for part in parts]), LONLAT, True)


def _circle(centre: Point, distance_m: float) -> BaseGeometry:
    """A polygon of points at a geodesic distance from a point; a box if the circle contains a pole."""
    lon0, lat0 = centre.x, centre.y
    count = len(_CIRCLE_AZIMUTHS)
    lon, lat, _ = _GEOD.fwd(np.full(count, lon0), np.full(count, lat0), _CIRCLE_AZIMUTHS,
                            np.full(count, distance_m))  # fmt: skip
    to_pole = _GEOD.inv(lon0, lat0, lon0, 90.0 if lat0 >= 0 else -90.0)[2]
    if to_pole <= distance_m:
        return box(-180.0, float(lat.min()), 180.0, 90.0) if lat0 >= 0 else box(-180.0, -90.0, 180.0, float(lat.max()))
    return Polygon(np.column_stack([longitudes.near(lon, lon0), lat]))


def _local_plane(centre: BaseGeometry) -> tuple[Transformer, float]:
    definition = f"+proj=aeqd +lat_0={centre.y} +lon_0={centre.x} +datum=WGS84 +units=m"
    return Transformer.from_crs(LONLAT, definition, always_xy=True), centre.x


def buffered(geometry: Geometry, distance_m: float) -> Geometry:
    """A buffer in metres: exact for points, in a local azimuthal equidistant plane for other shapes."""
    shape = longitudes.joined(geometry.lonlat)
    if shape.geom_type == "Point" and distance_m > 0:
        return Geometry(_circle(shape, distance_m))
    plane, lon0 = _local_plane(shape.centroid)
    west, south, east, north = shape.bounds
    step = max(east - west, north - south) / 64
    flat = grids.moved(shape.segmentize(step) if step else shape, plane.transform)
    grown = flat.buffer(distance_m, quad_segs=16)

    def back(x: Any, y: Any) -> Any:
        lon, lat = plane.transform(x, y, direction="INVERSE")
        return longitudes.near(lon, lon0), lat

    return Geometry(grids.moved(grown, back))


@algorithm("Geometry.buffer")
def buffer(geometry: Geometry, distance: float, error: Any, proj: Projection | None) -> Geometry:
    if proj is None:
        return buffered(geometry, distance)
    return Geometry(geometry.in_crs(proj.crs).buffer(distance), proj.crs, False)


def bounded(geometry: Geometry, proj: Projection | None = None) -> Geometry:
    """The bounding box in lon/lat, or in a projection's coordinates."""
    if proj is None or proj.crs == LONLAT:
        return Geometry(box(*geometry.lonlat.bounds), LONLAT, False)
    return Geometry(box(*geometry.in_crs(proj.crs).bounds), proj.crs, False)


@algorithm("Geometry.bounds")
def bounds(geometry: Geometry, error: Any, proj: Projection | None) -> Geometry:
    return bounded(geometry, proj)


@algorithm("Geometry.centroid")
def centroid(geometry: Geometry, error: Any, proj: Projection | None) -> Geometry:
    return Geometry(longitudes.wrapped(longitudes.joined(geometry.wrapped).centroid))


@algorithm("Geometry.coordinates")
def coordinates(geometry: Geometry) -> list[Any]:
    return list(geometry.geojson().get("coordinates", []))


@algorithm("Geometry.type")
def geometry_type(geometry: Geometry) -> str:
    return str(geometry.shape.geom_type)


@algorithm("Geometry.projection")
def geometry_projection(geometry: Geometry) -> Projection:
    return Projection(geometry.crs, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))


@algorithm("Geometry.geodesic", "Geometry.edgesAreGeodesics")
def is_geodesic(geometry: Geometry) -> bool:
    return geometry.geodesic


@algorithm("Geometry.geometries")
def geometries(geometry: Geometry) -> list[Geometry]:
    parts = getattr(geometry.shape, "geoms", [geometry.shape])
    return [Geometry(part, geometry.crs, geometry.geodesic) for part in parts]


@algorithm("Geometry.isUnbounded")
def is_unbounded(geometry: Geometry) -> bool:
    return bool(geometry.crs == LONLAT and geometry.shape.bounds == (-180.0, -90.0, 180.0, 90.0))


@algorithm("Geometry.transform")
def transform(geometry: Geometry, proj: Projection, error: Any, geodesic: bool | None = None) -> Geometry:
    return Geometry(geometry.in_crs(proj.crs), proj.crs, bool(geodesic))


@algorithm("Geometry.area")
def area(geometry: Geometry, error: Any, proj: Projection | None) -> float:
    if proj is not None:
        return float(geometry.in_crs(proj.crs).area)
    return sum(abs(_GEOD.geometry_area_perimeter(part)[0]) for part in _surfaces(geometry.lonlat))


def _surfaces(shape: BaseGeometry) -> list[BaseGeometry]:
    parts = getattr(shape, "geoms", [shape])
    return [shapely.geometry.polygon.orient(part) for part in parts if part.geom_type == "Polygon"]


@algorithm("Geometry.length")
def length(geometry: Geometry, error: Any, proj: Projection | None) -> float:
    shape = geometry.lonlat if proj is None else geometry.in_crs(proj.crs)
    if shape.geom_type in ("Polygon", "MultiPolygon"):
        return 0.0
    return float(shape.length if proj is not None else _GEOD.geometry_length(shape))


@algorithm("Geometry.perimeter")
def perimeter(geometry: Geometry, error: Any, proj: Projection | None) -> float:
    if proj is not None:
        return float(geometry.in_crs(proj.crs).length)
    return sum(abs(_GEOD.geometry_area_perimeter(part)[1]) for part in _surfaces(geometry.lonlat))


def distance_m(left: Geometry, right: Geometry) -> float:
    """The distance in metres between the nearest points of two geometries."""
    turned = [shapely.affinity.translate(left.wrapped, turn) for turn in (-360, 0, 360)]
    lines = [line for shape in turned if not (line := shapely.shortest_line(shape, right.wrapped)).is_empty]
    return min((float(_GEOD.geometry_length(line)) for line in lines), default=float("inf"))


@algorithm("Geometry.distance")
def distance(left: Geometry, right: Geometry, error: Any, proj: Any, spherical: Any) -> float:
    return distance_m(left, right)


@algorithm("Geometry.withinDistance")
def within_distance(left: Geometry, right: Geometry, limit: float, error: Any, proj: Any) -> bool:
    return distance_m(left, right) <= limit


def _of_two(name: str, combine: Callable[[BaseGeometry, BaseGeometry], Any], made: Callable[[Any], Any]) -> None:
    @algorithm(f"Geometry.{name}")
    def result(left: Geometry, right: Geometry, error: Any, proj: Any) -> Any:
        return made(combine(left.wrapped, right.wrapped))


for _name, _test in {
    "intersects": shapely.intersects, "disjoint": shapely.disjoint, "contains": shapely.covers,
    "containedIn": shapely.covered_by,
}.items():  # fmt: skip
    _of_two(_name, _test, bool)
for _name, _combine in {
    "intersection": shapely.intersection, "union": shapely.union, "difference": shapely.difference,
    "symmetricDifference": shapely.symmetric_difference,
}.items():  # fmt: skip
    _of_two(_name, _combine, Geometry)


@algorithm("Geometry.convexHull")
def convex_hull(geometry: Geometry, error: Any, proj: Any) -> Geometry:
    return Geometry(geometry.lonlat.convex_hull)


@algorithm("Geometry.dissolve")
def dissolve(geometry: Geometry, error: Any, proj: Any) -> Geometry:
    return Geometry(shapely.union_all(list(getattr(geometry.lonlat, "geoms", [geometry.lonlat]))))


@algorithm("Geometry.simplify")
def simplify(geometry: Geometry, error: Any, proj: Any) -> Geometry:
    return Geometry(geometry.lonlat.simplify(float(error.value) / grids.METERS_PER_DEGREE))
