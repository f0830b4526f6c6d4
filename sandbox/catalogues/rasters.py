"""Raster files as bands: their pixels, masks, scales and places on Earth."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from shapely.geometry.base import BaseGeometry

from sandbox.functions.images import saturated
from sandbox.raster import grids, longitudes
from sandbox.raster.grids import PixelGrid
from sandbox.raster.resample import Pixels
from sandbox.raster.stored import Projection, Window

_EARTH_M = (6.33e6, 6.40e6)
"""Semi-major axes of the ellipsoids and spheres that stand for the Earth; other bodies have smaller ones."""


@dataclass(frozen=True, eq=False)
class Raster:
    """One file of `count` bands. Each is read whole on first use and cached: the files of an index are small."""

    path: Path
    projection: Projection
    shape: tuple[int, int]
    count: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    cache: dict[int, Pixels] = field(default_factory=dict)

    def band(self, number: int) -> Pixels:
        """Band `number` (from 1): values in the file's dtype and its mask (bool), both (height, width). Thread-safe.

        Raises rasterio.errors.RasterioIOError when the file cannot be read.
        """
        with self.lock:
            if number not in self.cache:
                with rasterio.open(self.path) as source:
                    self.cache[number] = source.read(number), _mask(source, number)
            return self.cache[number]

    @cached_property
    def footprint(self) -> BaseGeometry:
        """The raster's outline in lon/lat, with vertices along its edges."""
        height, width = self.shape
        shape = PixelGrid(self.projection.crs, self.projection.transform, width, height).outline()
        return longitudes.lonlat_of(shape.segmentize(max(shape.length / 64, 1e-9)), self.projection.crs)


def _mask(source: Any, number: int) -> NDArray[np.bool_]:
    """What a mask or an alpha band of the file lets through; nodata is another thing, which an index may change."""
    if MaskFlags.per_dataset in source.mask_flag_enums[number - 1]:
        return np.asarray(source.read_masks(number) > 0)
    return np.ones(source.shape, dtype=np.bool_)


@dataclass(frozen=True)
class Packing:
    """What stored numbers mean: stored * scale + offset."""

    scale: float = 1
    offset: float = 0

    @property
    def _is_whole(self) -> bool:
        return self.scale == int(self.scale) and self.offset == int(self.offset)

    def dtype_of(self, stored: np.dtype[Any]) -> np.dtype[Any]:
        """The type of the values: the stored one, but floating for decimals."""
        return stored if self._is_whole else np.result_type(stored, np.float32)

    def unpacked(self, stored: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The values in `dtype`: an integer type gets the nearest ones, within its limits."""
        if (self.scale, self.offset) == (1, 0):
            return saturated(stored, dtype)
        if self._is_whole and stored.dtype.kind in "iub":
            return saturated(stored.astype(np.int64) * int(self.scale) + int(self.offset), dtype)
        values = stored.astype(np.float64) * self.scale + self.offset
        return saturated(values if dtype.kind == "f" else np.round(values), dtype)


@dataclass(frozen=True, eq=False)
class RasterBand:
    """One band of a file, with its Earth Engine name."""

    name: str
    dtype: np.dtype[Any]
    raster: Raster
    number: int
    nodata: float | None = None
    remap: Mapping[int, int] | None = None
    packing: Packing = Packing()
    pyramid: str = "mean"

    @property
    def projection(self) -> Projection:
        return self.raster.projection

    @property
    def shape(self) -> tuple[int, int]:
        return self.raster.shape

    def read(self, window: Window) -> Pixels:
        """See stored.Band.read."""
        height, width = self.shape
        part = window.intersection(Window(0, 0, width, height))
        rows, columns = slice(part.row, part.row + part.height), slice(part.column, part.column + part.width)
        stored, mask = (each[rows, columns] for each in self.raster.band(self.number))
        values, valid = self._translated(stored, mask & _known(stored, self.nodata))
        return window.placed(values, part), window.placed(valid, part)

    def _translated(self, stored: NDArray[Any], known: NDArray[np.bool_]) -> Pixels:
        if self.remap is None:
            return np.where(known, self.packing.unpacked(stored, self.dtype), self.dtype.type(0)), known
        result, mapped = np.zeros(stored.shape, self.dtype), np.zeros(stored.shape, dtype=np.bool_)
        for code, becomes in self.remap.items():
            result[stored == code] = becomes
            mapped |= stored == code
        return result, known & mapped


def _known(part: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    finite = np.isfinite(part) if part.dtype.kind == "f" else np.ones(part.shape, dtype=np.bool_)
    return finite if nodata is None else finite & (part != nodata)


def opened(path: Path) -> Raster:
    """The raster of a file. Raises ValueError for one that lies nowhere on Earth, OSError for one that is not there."""
    with rasterio.open(path) as source:
        t = source.transform
        transform = (t.a, t.b, t.c, t.d, t.e, t.f)
        return Raster(path, Projection(_crs(source, path), transform), (source.height, source.width), source.count)


def _crs(source: Any, path: Path) -> str:
    if not source.crs:
        raise ValueError(f"{path} has no CRS: it lies nowhere on Earth; give it one, as with gdal_edit.py -a_srs")
    code = source.crs.to_epsg()
    crs = f"EPSG:{code}" if code else source.crs.to_wkt()
    ellipsoid = grids.crs_of(crs).ellipsoid
    if ellipsoid is None or not _EARTH_M[0] < ellipsoid.semi_major_metre < _EARTH_M[1]:
        body = "another body" if ellipsoid is None else ellipsoid.name
        raise ValueError(f"{path} is not of the Earth: its CRS is on {body}; leave it out of the index")
    return crs
