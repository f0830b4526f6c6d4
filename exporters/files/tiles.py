"""The grids of chips in a file: the file itself, pieces cut from it, or a square around its middle."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from pyproj import CRS
from rasterio import Affine

from exporters.files.header import Header
from exporters.files.lattice import Lattice
from exporters.files.pixel_window import PixelWindow
from pipeline.errors import Fatal
from pipeline.grid import Grid, to_lonlat, utm_crs

CLOSE_PX = 0.25  # pixels nearer than this to the grid's are the grid's: EuroSAT has them of 10.04 x 9.96 m
_EQUAL = 1e-9
_POLE_DEG = 90.0


@dataclass(frozen=True)
class Tile:
    """A chip's grid, and which part of the place it is: "" for the whole."""

    grid: Grid
    part: str


def own_tiles(header: Header, size_px: int) -> list[Tile]:
    """All whole squares of `size_px` pixels from the upper left of a file, row by row, on its own pixels.

    Raises `Fatal` for a file whose pixels are no north-up squares in metres, or that is smaller.
    """
    height, width = header.shape_yx
    if min(height, width) < size_px:
        raise Fatal(
            f"{header.path} is {width} x {height} px, less than corpus.size_px = {size_px}; "
            f"set corpus.size_px = {min(height, width)}, or leave the file out."
        )
    corners = [(row, column) for row in range(0, height - size_px + 1, size_px)
               for column in range(0, width - size_px + 1, size_px)]  # fmt: skip
    whole = len(corners) == 1
    return [
        Tile(_grid(header, PixelWindow(column, row, size_px, size_px)), "" if whole else f"r{row}c{column}")
        for row, column in corners
    ]


def utm_tile(header: Header, size_px: int) -> Tile:
    """The square of 10 m pixels around the middle of a file, in the UTM zone there and on the lattice."""
    height, width = header.shape_yx
    middle = Affine(*header.lattice.transform) * (width / 2, height / 2)
    lon, lat = to_lonlat(header.lattice.crs.to_wkt()).transform(*middle)
    if not (math.isfinite(lon) and abs(lat) <= _POLE_DEG):
        raise Fatal(f"{header.path} has its middle at no place on Earth; correct its CRS or transform.")
    return Tile(Grid.around((lon, lat), utm_crs((lon, lat)), size_px), "")


def window_of(lattice: Lattice, grid: Grid, path: str) -> PixelWindow:
    """The pixels of a raster that are those of a grid. Raises `Fatal` where they are not."""
    if crs_name(lattice.crs) != grid.crs:
        raise Fatal(f"{path} is in {lattice.crs.name}, its place in {grid.crs}; {_REMEDY}.")
    if lattice.transform == grid.transform:  # the whole file, as of most tiles
        return PixelWindow(0, 0, grid.shape_yx[1], grid.shape_yx[0])
    window = _nearest_window(lattice, grid)
    if _apart_px(lattice, grid, window) > CLOSE_PX:
        raise Fatal(f"{path} has other pixels than the first layer at its place; {_REMEDY}.")
    return window


_REMEDY = "give its layer `resampling` to have it warped, or correct the description"


def _nearest_window(lattice: Lattice, grid: Grid) -> PixelWindow:
    column, row = ~Affine(*lattice.transform) * grid.origin_xy
    return PixelWindow(round(column), round(row), grid.shape_yx[1], grid.shape_yx[0])


def _apart_px(lattice: Lattice, grid: Grid, window: PixelWindow) -> float:
    """How far corners of the grid are from those of the window, in pixels of the raster."""
    left, bottom, right, top = grid.bounds_xy
    corners = [(0, 0, left, top), (1, 0, right, top), (0, 1, left, bottom), (1, 1, right, bottom)]
    inverse = ~Affine(*lattice.transform)
    return max(_distance(inverse * (x, y), window, east, south) for east, south, x, y in corners)


def _distance(at: tuple[float, float], window: PixelWindow, east: int, south: int) -> float:
    return max(abs(at[0] - window.column - east * window.width), abs(at[1] - window.row - south * window.height))


def _grid(header: Header, window: PixelWindow) -> Grid:
    """The grid of a window: its own pixels, or squares of a round size where these are within `CLOSE_PX` of them."""
    a, b, c, d, e, f = header.lattice.transform
    _refuse_no_metres(header)
    if abs(b) + abs(d) > _EQUAL * abs(a) or e >= 0 or a <= 0:
        raise Fatal(f'{header.path} is not north up; set files.grid = "utm" to have it warped.')
    if abs(a + e) <= _EQUAL * a:
        side_m = float(f"{a:.9g}")
        return Grid(crs_name(header.lattice.crs), (c + window.column * a, f + window.row * e), _shape(window), side_m)
    for side_m in _round_sizes(math.sqrt(-a * e)):
        grid = _around_middle(header, window, side_m)
        if _apart_px(header.lattice, grid, window) <= CLOSE_PX:
            return grid
    raise Fatal(f'{header.path} has pixels of {a:g} x {-e:g} m, no squares; set files.grid = "utm" to have it warped.')


def _shape(window: PixelWindow) -> tuple[int, int]:
    return window.height, window.width


def _round_sizes(side_m: float) -> Iterator[float]:
    return (float(f"{side_m:.{digits}g}") for digits in range(1, 9))


def _around_middle(header: Header, window: PixelWindow, side_m: float) -> Grid:
    middle = (window.column + window.width / 2, window.row + window.height / 2)
    x, y = Affine(*header.lattice.transform) * middle
    origin = (x - window.width / 2 * side_m, y + window.height / 2 * side_m)
    return Grid(crs_name(header.lattice.crs), origin, _shape(window), side_m)


def _refuse_no_metres(header: Header) -> None:
    crs = header.lattice.crs
    if not crs.is_projected or any(axis.unit_conversion_factor != 1.0 for axis in crs.axis_info[:2]):
        raise Fatal(f'{header.path} has no pixels in metres ({crs.name}); set files.grid = "utm" to have it warped.')


def crs_name(crs: CRS) -> str:
    """The EPSG code of a CRS that is exactly that one, else its WKT."""
    return _name(crs.srs)


@lru_cache(maxsize=256)
def _name(text: str) -> str:
    crs = CRS.from_user_input(text)
    code = crs.to_epsg()
    if code is not None and CRS.from_epsg(code).equals(crs, ignore_axis_order=True):
        return f"EPSG:{code}"
    return str(crs.to_wkt())
