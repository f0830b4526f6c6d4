"""Windows of stored bands around a chip, on their own pixels: read with `getPixels`, which computes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ee
import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from exporters.earth_engine.client import EarthEngine
from exporters.earth_engine.npy import decoded
from exporters.files.pixel_window import PixelWindow
from exporters.origin import Origin, PixelSize, Values
from pipeline.grid import Grid

_MARGIN_PX = 3  # around the chip: for interpolation, its tolerance, and a neighbourhood of one
_METERS_PER_DEGREE = 111_319.49  # along WGS84's equator
_AFFINE = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")


@dataclass(frozen=True)
class Lattice:
    """The pixels of a stored band: a CRS and an affine map from (column, row) to its coordinates, row by row."""

    crs: str
    transform: tuple[float, ...]

    @classmethod
    def of(cls, grid: Mapping[str, Any]) -> Lattice:
        """From the description of a band; the service leaves out zeros."""
        affine = grid["affineTransform"]
        return cls(grid.get("crsCode") or grid["crsWkt"], tuple(float(affine.get(name, 0.0)) for name in _AFFINE))

    def positions(self, grid: Grid) -> tuple[Values, Values]:
        """Column and row, both (y, x), of the chip's pixel centres, from the outer corner of the first pixel."""
        x_scale, x_shear, x_origin, y_shear, y_scale, y_origin = self.transform
        y, x = grid.centres_yx
        x, y = _transformer(grid.crs, self.crs).transform(*np.meshgrid(x, y))
        dx, dy = x - x_origin, y - y_origin
        determinant = x_scale * y_scale - x_shear * y_shear
        return (y_scale * dx - x_shear * dy) / determinant, (x_scale * dy - y_shear * dx) / determinant

    def pixel_size(self, window: PixelWindow) -> PixelSize:
        """Metres of the window's pixels; degrees as on a sphere."""
        x_scale, _, _, _, y_scale, y_origin = self.transform
        rows = (window.row + np.arange(window.height) + 0.5)[:, None]
        if not CRS.from_user_input(self.crs).is_geographic:
            return PixelSize(np.full(rows.shape, abs(x_scale)), abs(y_scale))
        shrink = np.cos(np.radians(y_origin + y_scale * rows))
        return PixelSize(abs(x_scale) * _METERS_PER_DEGREE * shrink, abs(y_scale) * _METERS_PER_DEGREE)


@dataclass(frozen=True)
class StoredBand:
    """One band around a chip: numbers as they came (y, x) with 0 where it is masked, and where the chip's pixels are.

    `columns` and `rows` (y, x of the chip) are positions from the outer corner of the first number.
    """

    numbers: NDArray[np.float64]
    columns: Values
    rows: Values
    size: PixelSize


class StoredPixels:
    """The stored bands that some origins name, around one chip; an asset is described once, and read once per lattice.

    Methods raise the errors of `EarthEngine`.
    """

    def __init__(self, engine: EarthEngine, grid: Grid, origins: Iterable[Origin]) -> None:
        self._engine, self._grid = engine, grid
        self._wanted: dict[str, set[str | int]] = {}
        for origin in origins:
            if origin.asset_id is not None:
                self._wanted.setdefault(origin.asset_id, set()).update(origin.stored)
        self._described: dict[str, list[Mapping[str, Any]]] = {}
        self._read: dict[tuple[str, Lattice], Mapping[str, StoredBand]] = {}

    def band(self, asset_id: str, band: str | int) -> StoredBand | None:
        """A band by name or position; None where the image has no such band."""
        described = self._find(asset_id, band)
        if described is None:
            return None
        lattice = Lattice.of(described["grid"])
        if (asset_id, lattice) not in self._read:
            self._read[asset_id, lattice] = self._window(asset_id, lattice)
        return self._read[asset_id, lattice][str(described["id"])]

    def _find(self, asset_id: str, band: str | int) -> Mapping[str, Any] | None:
        if asset_id not in self._described:
            self._described[asset_id] = self._engine.call(lambda: ee.data.getAsset(asset_id))["bands"]
        bands = self._described[asset_id]
        if isinstance(band, int):
            return bands[band] if band < len(bands) else None
        return next((item for item in bands if item["id"] == band), None)

    def _window(self, asset_id: str, lattice: Lattice) -> Mapping[str, StoredBand]:
        """All wanted bands of the asset on that lattice, in one request."""
        found = [self._find(asset_id, band) for band in self._wanted[asset_id]]
        names = sorted({str(item["id"]) for item in found if item and Lattice.of(item["grid"]) == lattice})
        columns, rows = lattice.positions(self._grid)
        window = _under(columns, rows)
        request = {"assetId": asset_id, "bandIds": names, "fileFormat": "NPY", "grid": _grid_of(lattice, window)}
        shape_yx = window.height, window.width
        array = self._engine.call(lambda: decoded(ee.data.getPixels(request), shape_yx))
        at = columns - window.column, rows - window.row
        return {name: StoredBand(np.array(array[name], np.float64), *at, lattice.pixel_size(window)) for name in names}


def _grid_of(lattice: Lattice, window: PixelWindow) -> dict[str, Any]:
    """A window of a lattice as getPixels takes it."""
    x_scale, x_shear, x_origin, y_shear, y_scale, y_origin = lattice.transform
    x = x_origin + x_scale * window.column + x_shear * window.row
    y = y_origin + y_shear * window.column + y_scale * window.row
    code = {"crsCode": lattice.crs} if ":" in lattice.crs[:12] else {"crsWkt": lattice.crs}
    affine = dict(zip(_AFFINE, (x_scale, x_shear, x, y_shear, y_scale, y), strict=True))
    return {"dimensions": {"width": window.width, "height": window.height}, "affineTransform": affine, **code}


def _under(columns: Values, rows: Values) -> PixelWindow:
    """The pixels under these positions, and a margin."""
    left, top = (int(np.floor(each.min())) - _MARGIN_PX for each in (columns, rows))
    right, bottom = (int(np.floor(each.max())) + _MARGIN_PX for each in (columns, rows))
    return PixelWindow(left, top, right - left + 1, bottom - top + 1)


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)
