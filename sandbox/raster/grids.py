"""Pixel grids, and where the centres of one grid's pixels fall in another grid."""

from __future__ import annotations

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

_ON_LATTICE = 1e-6  # of a pixel

_NODES = 7
_EXACT_PIXELS = 256  # up to here every pixel is transformed
_CLOSE_DEG, _CLOSE_M = 1e-10, 1e-5

Coordinates = NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True)
class PixelGrid:
    """Exact pixels on Earth. `transform` is Earth Engine's order, as in stored.Projection."""

    crs: str
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # A request looks pixels up by grid hundreds of times.
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
    """Fractional (column, row) positions in one lattice of another grid's pixel centres.

    `columns` is (1, width) and `rows` (height, 1) where the axes stay separate, else both are (height, width).
    """

    columns: Coordinates
    rows: Coordinates
    notes: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def derived(self, name: Any, make: Callable[[Mapping], T]) -> T:
        """What `make` gives for this mapping, made once: bands on one lattice share it."""
        if name not in self.notes:
            self.notes[name] = make(self)
        made: T = self.notes[name]
        return made


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
    """The part of a projection's lattice that a window covers."""
    x, y = apply(projection.transform, window.column, window.row)
    x_scale, x_shear, _, y_shear, y_scale, _ = projection.transform
    return PixelGrid(projection.crs, (x_scale, x_shear, x, y_shear, y_scale, y), window.width, window.height)


def window_on(projection: Projection, grid: PixelGrid) -> Window | None:
    """The window of `projection` that `grid` is, pixel for pixel, or None when it is not on that lattice."""
    if grid.crs != projection.crs:
        return None
    wanted, native = grid.transform, projection.transform
    steps = [abs(wanted[i] - native[i]) for i in (0, 1, 3, 4)]
    if max(steps) * max(grid.width, grid.height) > _ON_LATTICE * (abs(native[0]) + abs(native[1])):
        return None
    column, row = invert(native, wanted[2], wanted[5])
    if abs(column - round(column)) > _ON_LATTICE * 10 or abs(row - round(row)) > _ON_LATTICE * 10:
        return None
    return Window(round(column), round(row), grid.width, grid.height)


def same_crs(left: str, right: str) -> bool:
    """Whether two CRS codes name one CRS."""
    return left == right


@lru_cache(maxsize=512)
def crs_of(code: str) -> CRS:
    """The CRS of a code such as "EPSG:32632", or of WKT; unknown ones are a 400."""
    try:
        return CRS.from_user_input(code)
    except Exception as error:
        raise EarthEngineError(f"The CRS of a map projection could not be parsed: '{code}'.") from error


@lru_cache(maxsize=512)
def transformer(source: str, target: str) -> Transformer:
    """Exact coordinate operation in x, y (lon, lat) order; pyproj keeps one per thread behind it."""
    return Transformer.from_crs(crs_of(source), crs_of(target), always_xy=True)


def project(shape: BaseGeometry, source: str, target: str) -> BaseGeometry:
    """A geometry's vertices in another CRS."""
    if same_crs(source, target):
        return shape
    return moved(shape, transformer(source, target).transform)


def moved(shape: BaseGeometry, move: Callable[[Any, Any], Any]) -> BaseGeometry:
    """A geometry with each vertex where `move(x, y)` puts it."""
    moved_shape: BaseGeometry = shapely.transform(shape, lambda xy: np.column_stack(move(xy[:, 0], xy[:, 1])))
    return moved_shape


def centres(grid: PixelGrid) -> tuple[Coordinates, Coordinates]:
    """The x (1, width) and y (height, 1) of pixel centres; both (height, width) where the grid is sheared."""
    columns = np.arange(grid.width, dtype=np.float64)[None, :] + 0.5
    rows = np.arange(grid.height, dtype=np.float64)[:, None] + 0.5
    return apply(grid.transform, columns, rows)


def is_axis_aligned(transform: tuple[float, ...]) -> bool:
    """Whether columns run along x and rows along y."""
    return transform[1] == 0 and transform[3] == 0


def positions(grid: PixelGrid, crs: str) -> tuple[Coordinates, Coordinates]:
    """The coordinates of pixel centres in another CRS, both (height, width), to 10 micrometres."""
    result = _smooth_positions(grid, crs) if grid.width * grid.height > _EXACT_PIXELS else None
    if result is not None:
        return result
    x, y = np.broadcast_arrays(*centres(grid))
    return _moved_to(np.ascontiguousarray(x), np.ascontiguousarray(y), grid.crs, crs)


def _smooth_positions(grid: PixelGrid, crs: str) -> tuple[Coordinates, Coordinates] | None:
    """The polynomial through exact positions at Chebyshev nodes, or None where exact positions between tell it wrong.

    Changes of coordinates are smooth: degree 6 is exact to rounding over tens of kilometres, and needs 49 exact
    positions in place of one for each pixel. Seams, poles and grids of whole continents are told by the check.
    """
    nodes = np.cos((np.arange(_NODES) + 0.5) / _NODES * np.pi)
    checks = np.linspace(-1, 1, 5)
    exact, wanted = _at(grid, crs, nodes), _at(grid, crs, checks)
    limit = _CLOSE_DEG if geographic(crs) else _CLOSE_M
    check = _lagrange(nodes, checks)
    # Not "any further than": a coordinate that is not finite is no agreement.
    if not all(np.abs(check @ e @ check.T - w).max() <= limit for e, w in zip(exact, wanted, strict=True)):
        return None
    across, down = (_lagrange(nodes, _unit(size)) for size in (grid.width, grid.height))
    return down @ exact[0] @ across.T, down @ exact[1] @ across.T


def _unit(size: int) -> Coordinates:
    """Pixel centres as -1 (the first) to 1 (the last)."""
    return np.linspace(-1, 1, size) if size > 1 else np.zeros(1)


def _at(grid: PixelGrid, crs: str, places: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Exact positions (places, places) at parts -1 to 1 of the way from the first pixel centre to the last."""
    columns = (places + 1) / 2 * (grid.width - 1) + 0.5
    rows = (places + 1) / 2 * (grid.height - 1) + 0.5
    x, y = apply(grid.transform, *np.meshgrid(columns, rows))
    return _moved_to(x, y, grid.crs, crs)


def _lagrange(nodes: Coordinates, places: Coordinates) -> Coordinates:
    """Weights (places, nodes) of the polynomial through values at the nodes."""
    away = places[:, None, None] - nodes[None, None, :]
    apart = nodes[:, None] - nodes[None, :] + np.eye(len(nodes))
    own = np.eye(len(nodes), dtype=np.bool_)
    return np.asarray((np.where(own, 1.0, away) / np.where(own, 1.0, apart)).prod(axis=2))


def _moved_to(x: Coordinates, y: Coordinates, source: str, target: str) -> tuple[Coordinates, Coordinates]:
    there = transformer(source, target).transform(x, y)
    return there[0], there[1]


def geographic(crs: str) -> bool:
    """Whether the CRS counts in degrees."""
    return bool(crs_of(crs).is_geographic)


def nominal_scale_m(projection: Projection) -> float:
    """Metres of one pixel's side, degrees counted as on the equator."""
    x_scale, _, _, y_shear, _, _ = projection.transform
    units = float(np.hypot(x_scale, y_shear))
    return units * METERS_PER_DEGREE if geographic(projection.crs) else units


def at_scale(crs: str, meters: float) -> Projection:
    """The projection with pixels of `meters`, origin at (0, 0), y downwards."""
    step = meters / METERS_PER_DEGREE if geographic(crs) else meters
    return Projection(crs, (step, 0.0, 0.0, 0.0, -step, 0.0))


def covering_grid(projection: Projection, shape: BaseGeometry) -> PixelGrid:
    """The smallest part of the lattice that covers a geometry given in the projection's CRS."""
    left, bottom, right, top = shape.bounds
    x, y = np.array([left, right, right, left]), np.array([bottom, bottom, top, top])
    columns, rows = invert(projection.transform, x, y)
    column, row = int(np.floor(columns.min() + 1e-9)), int(np.floor(rows.min() + 1e-9))
    width = max(int(np.ceil(columns.max() - 1e-9)) - column, 1)
    height = max(int(np.ceil(rows.max() - 1e-9)) - row, 1)
    return window_grid(projection, Window(column, row, width, height))
