"""Any raster on a chip's grid: physical values, resampled as Earth Engine does, with holes where there are no data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporters.files import interpolation
from exporters.files.lattice import Lattice
from exporters.files.open_raster import OpenRaster, opened
from exporters.files.pixel_window import PixelWindow
from exporters.files.pyramid import level_of, reduced
from pipeline.grid import Grid
from pipeline.modality import Resampling

Values = NDArray[np.float64]
Positions = NDArray[np.float64]
Read = Callable[[PixelWindow], Values]
_MOST_VALUES = 1 << 24  # of one read: 128 MiB as float64
_TURNS = (0, -1, 1)


@dataclass(frozen=True)
class RasterBands:
    """Bands of a raster file, numbered from 1, in the order in which they are wanted; a path, or a URL for GDAL.

    `nodata` is a number in the file that is no datum, beside what the file says.
    """

    path: str
    bands: tuple[int, ...]
    nodata: float | None = None


def read_onto(source: RasterBands, grid: Grid, resampling: Resampling) -> Values:
    """The bands on a chip's grid, (bands, y, x) float64 with the file's scale and offset applied.

    NaN where the file has nodata (or NaN, or infinity), where its mask or alpha band hides, and outside of it. Pixels
    that are the grid's own are copied. "nearest" takes the pixel that contains a centre; "bilinear" the mean of the
    four around it, from means of 2, 4, 8, ... pixels where the file is so much finer than the grid. Reads no more than
    the pixels under the grid. Raises `Fatal` as `OpenRaster`.
    """
    return read_mosaic([source], grid, resampling)


def read_mosaic(sources: Sequence[RasterBands], grid: Grid, resampling: Resampling) -> Values:
    """The same for many files with as many bands; where they overlap, the last that has data is on top.

    Files whose pixels continue each other are interpolated across their border, also where a file with other pixels
    stands between them in the list.
    """
    result = np.full((len(sources[0].bands), *grid.shape_yx), np.nan)
    for run, alike in _runs(sources):
        missing = np.isnan(result)
        if not missing.any():
            break
        values = _onto(run, grid, resampling)
        if len(alike) > len(run) and resampling == "bilinear":
            values = np.where(np.isnan(values), values, _onto(alike, grid, resampling))
        result[missing] = values[missing]
    return result


Run = tuple[list[RasterBands], list[RasterBands]]


def _runs(sources: Sequence[RasterBands]) -> list[Run]:
    """Neighbours in the list that have one lattice, uppermost first, each with all files of that lattice.

    The run says where it lies above others; the values there come from all files alike, so that there is no seam.
    """
    alike: list[tuple[Lattice, list[RasterBands]]] = []
    runs: list[Run] = []
    for source in reversed(sources):
        raster = opened(source.path)
        found = next((files for lattice, files in alike if _continues(lattice, raster)), None)
        if found is None:
            found = []
            alike.append((raster.lattice, found))
        if not runs or runs[-1][1] is not found:
            runs.append(([], found))
        for files in (runs[-1][0], found):
            files.append(source)
    return runs


def _continues(lattice: Lattice, raster: OpenRaster) -> bool:
    """Whether pixels of a file are pixels of a lattice, be it once around the Earth."""
    return any(lattice.shift(turned, raster.shape_yx) is not None for turned in _turned(raster.lattice))


def _onto(sources: Sequence[RasterBands], grid: Grid, resampling: Resampling) -> Values:
    """Files of one lattice on a grid, the first on top."""
    result = np.full((len(sources[0].bands), *grid.shape_yx), np.nan)
    for tiles in _tilings(sources):
        missing = np.isnan(result)
        if not missing.any():
            break
        result[missing] = tiles.onto(grid, resampling)[missing]
    return result


@dataclass(frozen=True)
class _Placed:
    """A file in a tiling: pixel (0, 0) of the file is pixel (`column`, `row`) of the tiling."""

    raster: OpenRaster
    source: RasterBands
    column: int
    row: int

    def values(self, window: PixelWindow) -> Values | None:
        """The file's part of a window of the tiling, (bands, y, x); None without one."""
        own = window.moved(-self.column, -self.row)
        if not own.within(self.raster.shape_yx).pixels:
            return None
        return self.raster.physical(self.source.bands, own, self.source.nodata)

    def covers(self, columns: Positions, rows: Positions) -> NDArray[np.bool_]:
        """Whether positions in the tiling are inside the file."""
        height, width = self.raster.shape_yx
        across, down = columns - self.column, rows - self.row
        return np.asarray((across >= 0) & (across < width) & (down >= 0) & (down < height))


@dataclass(frozen=True)
class _Tiling:
    """Files of one lattice, uppermost first."""

    lattice: Lattice
    files: list[_Placed]

    def read(self, window: PixelWindow) -> Values:
        """A window of the lattice, (bands, y, x), NaN where no file has data."""
        result: Values | None = None
        for file in self.files:
            values = file.values(window) if result is None or np.isnan(result).any() else None
            if values is not None:
                result = values if result is None else np.where(np.isnan(result), values, result)
        if result is None:
            return np.full((len(self.files[0].source.bands), window.height, window.width), np.nan)
        return result

    def onto(self, grid: Grid, resampling: Resampling) -> Values:
        """The files on a grid, (bands, y, x)."""
        shift = self.lattice.shift(Lattice.of(grid), grid.shape_yx)
        if shift is not None:
            return self.read(PixelWindow(*shift, grid.shape_yx[1], grid.shape_yx[0]))
        columns, rows = self.lattice.positions(grid)
        level = level_of(columns, rows) if resampling == "bilinear" else 0
        columns = np.where(self._covers(columns, rows), columns, np.nan)
        read = reduced(self.read, level, _MOST_VALUES // len(self.files[0].source.bands)) if level else self.read
        return self._sampled(read, columns / 2**level, rows / 2**level, resampling)

    def _covers(self, columns: Positions, rows: Positions) -> NDArray[np.bool_]:
        """Whether positions (y, x) are inside some file: what lies beside it is not made up from its border."""
        covered = np.zeros(columns.shape, dtype=np.bool_)
        for file in self.files:
            covered |= file.covers(columns, rows)
        return covered

    def _sampled(self, read: Read, columns: Positions, rows: Positions, resampling: Resampling) -> Values:
        """Values at positions (y, x), part by part where the window under them is too large to be read at once."""
        window = _window(columns, rows, margin=0 if resampling == "nearest" else 1)
        if window.pixels * len(self.files[0].source.bands) <= _MOST_VALUES or columns.size == 1:
            method = interpolation.nearest if resampling == "nearest" else interpolation.bilinear
            return method(read(window), columns - window.column, rows - window.row)
        axis = int(np.argmax(columns.shape))
        halves = zip(np.array_split(columns, 2, axis), np.array_split(rows, 2, axis), strict=True)
        return np.concatenate([self._sampled(read, *half, resampling) for half in halves], axis=axis + 1)


def _window(columns: Positions, rows: Positions, margin: int) -> PixelWindow:
    """The pixels around positions, `margin` more on each side; one pixel where no position is finite."""
    there = np.isfinite(columns) & np.isfinite(rows)
    if not there.any():
        return PixelWindow(-1, -1, 1, 1)
    left, top = (int(np.floor(axis[there].min())) - margin for axis in (columns, rows))
    right, bottom = (int(np.floor(axis[there].max())) + margin + 1 for axis in (columns, rows))
    return PixelWindow(left, top, right - left, bottom - top)


def _tilings(sources: Sequence[RasterBands]) -> list[_Tiling]:
    """The files, uppermost first, grouped by how often their lattice is turned around the Earth."""
    tilings: list[_Tiling] = []
    for source in sources:
        raster = opened(source.path)
        for lattice in _turned(raster.lattice):
            _place(tilings, lattice, raster, source)
    return tilings


def _turned(lattice: Lattice) -> Iterator[Lattice]:
    """The lattice, and where it lies once around the Earth."""
    yield from (lattice.turned(times) for times in (_TURNS if lattice.turns else (0,)))


def _place(tilings: list[_Tiling], lattice: Lattice, raster: OpenRaster, source: RasterBands) -> None:
    for tiling in tilings:
        shift = tiling.lattice.shift(lattice, raster.shape_yx)
        if shift is not None:
            tiling.files.append(_Placed(raster, source, *shift))
            return
    tilings.append(_Tiling(lattice, [_Placed(raster, source, 0, 0)]))
