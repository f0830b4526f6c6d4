"""Pixel grids, and the positions of one grid's pixel centres in another grid."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from sandbox.errors import EarthEngineError
from sandbox.raster.stored import Projection, Window

METERS_PER_DEGREE = 111319.49079327358
"""One degree along the equator of the WGS84 ellipsoid, Earth Engine's conversion of metres to degrees."""

LONLAT = "EPSG:4326"
DEFAULT_PROJECTION = Projection(LONLAT, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
"""What a composite or a constant has: one degree."""

_UTM = re.compile(r"EPSG:32([67])(0[1-9]|[1-5]\d|60)")
# Codes of Earth Engine's that PROJ does not know: the sinusoidal grid of MODIS.
_OTHER_CODES = {"SR-ORG:6974": "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs +type=crs"}
_ON_LATTICE = 1e-6  # pixels

_NODES = np.cos((np.arange(7) + 0.5) / 7 * np.pi)
_CHECKS = np.linspace(-1, 1, 5)
_EXACT_PIXELS = 256  # up to this size every pixel is transformed exactly
_CLOSE_DEG, _CLOSE_M = 1e-10, 1e-5

Coordinates = NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True)
class PixelGrid:
    """A grid of `width` by `height` pixels. `transform` is in Earth Engine's order, as in stored.Projection."""

    crs: str
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # One request uses a grid as a dictionary key hundreds of times.
        return hash((self.crs, self.transform, self.width, self.height))

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def projection(self) -> Projection:
        return Projection(self.crs, self.transform)

    def outline(self) -> Polygon:
        """The grid's rectangle in its own CRS."""
        corners = [(0, 0), (self.width, 0), (self.width, self.height), (0, self.height)]
        return Polygon([apply(self.transform, column, row) for column, row in corners])


@dataclass(frozen=True)
class Mapping:
    """Fractional (column, row) positions of a grid's pixel centres in the lattice of a source.

    `columns` is (1, width) and `rows` (height, 1) if the axes are separable, else both are (height, width); float64.
    """

    columns: Coordinates
    rows: Coordinates
    notes: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def derived(self, of: Any, make: Callable[[Mapping, Any], T]) -> T:
        """The result of `make(self, of)`, computed once: the bands of one lattice share it."""
        if (make, of) not in self.notes:
            self.notes[make, of] = make(self, of)
        made: T = self.notes[make, of]
        return made

    @cached_property
    def bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The least and the greatest column, then row; NaN or infinite where a position is not known."""
        columns, rows = self.columns, self.rows
        return (float(columns.min()), float(columns.max())), (float(rows.min()), float(rows.max()))

    @cached_property
    def known(self) -> NDArray[np.bool_] | None:
        """Which pixels have a finite position, (height, width) or as `columns` and `rows` are; None: all of them."""
        if np.isfinite(self.bounds).all():
            return None
        return np.isfinite(self.columns) & np.isfinite(self.rows)


def apply(transform: tuple[float, ...], column: Any, row: Any) -> tuple[Any, Any]:
    """The CRS coordinates of pixel position (column, row)."""
    x_scale, x_shear, x_origin, y_shear, y_scale, y_origin = transform
    return x_scale * column + x_shear * row + x_origin, y_shear * column + y_scale * row + y_origin


def invert(transform: tuple[float, ...], x: Any, y: Any) -> tuple[Any, Any]:
    """The pixel position (column, row) of CRS coordinates."""
    x_scale, x_shear, x_origin, y_shear, y_scale, y_origin = transform
    if x_shear == 0 and y_shear == 0:
        return (x - x_origin) / x_scale, (y - y_origin) / y_scale
    determinant = x_scale * y_scale - x_shear * y_shear
    dx, dy = x - x_origin, y - y_origin
    return (y_scale * dx - x_shear * dy) / determinant, (x_scale * dy - y_shear * dx) / determinant


def window_grid(projection: Projection, window: Window) -> PixelGrid:
    """The grid of a window of a projection's lattice."""
    x, y = apply(projection.transform, window.column, window.row)
    x_scale, x_shear, _, y_shear, y_scale, _ = projection.transform
    return PixelGrid(projection.crs, (x_scale, x_shear, x, y_shear, y_scale, y), window.width, window.height)


@lru_cache(maxsize=4096)
def window_on(projection: Projection, grid: PixelGrid) -> Window | None:
    """The window of `projection` whose pixels are those of `grid`, or None when `grid` is not on that lattice."""
    if grid.crs != projection.crs:
        return None
    expected, native = grid.transform, projection.transform
    steps = [abs(expected[i] - native[i]) for i in (0, 1, 3, 4)]
    if max(steps) * max(grid.width, grid.height) > _ON_LATTICE * (abs(native[0]) + abs(native[1])):
        return None
    column, row = invert(native, expected[2], expected[5])
    if abs(column - round(column)) > _ON_LATTICE * 10 or abs(row - round(row)) > _ON_LATTICE * 10:
        return None
    return Window(round(column), round(row), grid.width, grid.height)


def same_crs(left: str, right: str) -> bool:
    """Whether two CRS codes are the same text (two spellings of one CRS count as different)."""
    return left == right


@lru_cache(maxsize=512)
def crs_of(code: str) -> CRS:
    """The CRS of a code such as "EPSG:32632", or of WKT. Raises EarthEngineError (400) for an unknown one."""
    try:
        return CRS.from_user_input(_OTHER_CODES.get(code, code))
    except Exception as error:
        raise EarthEngineError(f"The CRS of a map projection could not be parsed: '{code}'.") from error


@lru_cache(maxsize=512)
def transformer(source: str, target: str) -> Transformer:
    """The exact coordinate operation in x, y (lon, lat) order; pyproj holds one operation per thread."""
    steps = _step(source, inverse=" +inv"), _step(target, inverse="")
    if all(steps) and source != target:
        return Transformer.from_pipeline("+proj=pipeline " + " ".join(steps))
    return Transformer.from_crs(_east_first(source), _east_first(target), always_xy=True)


def _step(code: str, inverse: str) -> str:
    """PROJ's step from radians to a UTM zone or degrees, or with `inverse` back; empty for other CRS.

    To look up the same in PROJ's tables takes milliseconds for each pair of zones.
    """
    if code == LONLAT:
        return f"+step{inverse} +proj=unitconvert +xy_in=rad +xy_out=deg"
    match = _UTM.fullmatch(code)
    south = " +south" if match and match[1] == "7" else ""
    return f"+step{inverse} +proj=utm +zone={int(match[2])}{south} +ellps=WGS84" if match else ""


def _east_first(code: str) -> CRS:
    """The CRS with its axes in x, y order where both run along meridians from a pole.

    PROJ normalises no such axes: between EPSG:32661 (northing first) and EPSG:5041 it would exchange x and y.
    """
    crs = crs_of(code)
    directions = {axis.direction for axis in crs.axis_info}
    if not crs.is_projected or len(directions) > 1 or crs.axis_info[0].abbrev != "N":
        return crs
    described = crs.to_json_dict()
    described.pop("id", None)
    described["name"] += ", x first"  # by its name PROJ would find the registered axes again
    described["coordinate_system"]["axis"].reverse()
    return CRS.from_json_dict(described)


def project(shape: BaseGeometry, source: str, target: str) -> BaseGeometry:
    """A geometry's vertices in another CRS."""
    if same_crs(source, target):
        return shape
    return moved(shape, transformer(source, target).transform)


def moved(shape: BaseGeometry, move: Callable[[Any, Any], Any]) -> BaseGeometry:
    """A geometry with each vertex (x, y) replaced by `move(x, y)`."""
    moved_shape: BaseGeometry = shapely.transform(shape, lambda xy: np.column_stack(move(xy[:, 0], xy[:, 1])))
    return moved_shape


def centres(grid: PixelGrid) -> tuple[Coordinates, Coordinates]:
    """The x (1, width) and y (height, 1) of pixel centres, float64 in CRS units; a sheared grid has both as
    (height, width)."""
    columns = np.arange(grid.width, dtype=np.float64)[None, :] + 0.5
    rows = np.arange(grid.height, dtype=np.float64)[:, None] + 0.5
    x_scale, x_shear, x_origin, y_shear, y_scale, y_origin = grid.transform
    if x_shear == 0 and y_shear == 0:  # `apply` would give both as (height, width)
        return x_scale * columns + x_origin, y_scale * rows + y_origin
    return apply(grid.transform, columns, rows)


def positions(grid: PixelGrid, crs: str) -> tuple[Coordinates, Coordinates]:
    """x and y of pixel centres in another CRS, both (height, width) float64 in CRS units, to 10 micrometres."""
    result = _smooth_positions(grid, crs) if grid.width * grid.height > _EXACT_PIXELS else None
    if result is not None:
        return result
    x, y = np.broadcast_arrays(*centres(grid))
    return _transformed(np.ascontiguousarray(x), np.ascontiguousarray(y), grid.crs, crs)


def _smooth_positions(grid: PixelGrid, crs: str) -> tuple[Coordinates, Coordinates] | None:
    """Positions from a polynomial through exact ones at Chebyshev nodes, or None when it fails at the check points.

    Coordinate operations are smooth: degree 6 is exact to rounding over tens of kilometres, and needs 49 exact
    positions instead of one per pixel. The check detects seams, poles and grids of whole continents.
    """
    exact, expected = _at(grid, crs, _NODES), _at(grid, crs, _CHECKS)
    limit = _CLOSE_DEG if geographic(crs) else _CLOSE_M
    check = _lagrange(len(_CHECKS))
    # `not all(... <= limit)` also rejects coordinates that are not finite; `any(... > limit)` would accept NaN.
    if not all(np.abs(check @ e @ check.T - w).max() <= limit for e, w in zip(exact, expected, strict=True)):
        return None
    across, down = _lagrange(grid.width), _lagrange(grid.height)
    return down @ exact[0] @ across.T, down @ exact[1] @ across.T


def _unit(size: int) -> Coordinates:
    """Pixel centres on a scale from -1 (the first) to 1 (the last), (size,) float64."""
    return np.linspace(-1, 1, size) if size > 1 else np.zeros(1)


def _at(grid: PixelGrid, crs: str, points: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Exact positions (points, points); `points` run from -1 (the first pixel centre) to 1 (the last)."""
    columns = (points + 1) / 2 * (grid.width - 1) + 0.5
    rows = (points + 1) / 2 * (grid.height - 1) + 0.5
    x, y = apply(grid.transform, *np.meshgrid(columns, rows))
    return _transformed(x, y, grid.crs, crs)


@lru_cache(maxsize=64)
def _lagrange(size: int) -> Coordinates:
    """Weights (size, nodes) of the polynomial through values at the nodes, for so many points from -1 to 1."""
    away = _unit(size)[:, None, None] - _NODES[None, None, :]
    apart = _NODES[:, None] - _NODES[None, :] + np.eye(len(_NODES))
    own = np.eye(len(_NODES), dtype=np.bool_)
    return np.asarray((np.where(own, 1.0, away) / np.where(own, 1.0, apart)).prod(axis=2))


def _transformed(x: Coordinates, y: Coordinates, source: str, target: str) -> tuple[Coordinates, Coordinates]:
    result = transformer(source, target).transform(x, y)
    return result[0], result[1]


@lru_cache(maxsize=512)
def geographic(crs: str) -> bool:
    """Whether the CRS has degrees as its unit."""
    return bool(crs_of(crs).is_geographic)


def nominal_scale_m(projection: Projection) -> float:
    """The side of one pixel in metres; degrees are converted as on the equator."""
    x_scale, _, _, y_shear, _, _ = projection.transform
    units = float(np.hypot(x_scale, y_shear))
    return units * METERS_PER_DEGREE if geographic(projection.crs) else units


def at_scale(crs: str, meters: float) -> Projection:
    """The projection with pixels of `meters`, origin at (0, 0), rows from north to south."""
    step = meters / METERS_PER_DEGREE if geographic(crs) else meters
    return Projection(crs, (step, 0.0, 0.0, 0.0, -step, 0.0))


def covering_grid(projection: Projection, shape: BaseGeometry) -> PixelGrid:
    """The smallest part of the lattice that covers a geometry given in the projection's CRS."""
    return window_grid(projection, covering_window(projection, shape))


def covering_window(projection: Projection, shape: BaseGeometry) -> Window:
    """The pixels of `covering_grid`."""
    left, bottom, right, top = shape.bounds
    x, y = np.array([left, right, right, left]), np.array([bottom, bottom, top, top])
    columns, rows = invert(projection.transform, x, y)
    column, row = int(np.floor(columns.min() + 1e-9)), int(np.floor(rows.min() + 1e-9))
    width = max(int(np.ceil(columns.max() - 1e-9)) - column, 1)
    height = max(int(np.ceil(rows.max() - 1e-9)) - row, 1)
    return Window(column, row, width, height)
