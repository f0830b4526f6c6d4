"""Real rasters of a folder as Earth Engine assets, described by a small TOML index (docs/sandbox.md has its keys).

An [[image]] is one file in its own CRS; a [[mosaic]] is several files as one image on a given lattice.
"""

from __future__ import annotations

import threading
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from sandbox.functions.images import Compute, Scope, resampled, saturated
from sandbox.functions.projections import projection_of
from sandbox.raster import grids
from sandbox.raster.grids import LONLAT, PixelGrid
from sandbox.raster.stored import Projection, Query, StoredFeature, StoredImage, Window

_SHARED_KEYS = {"collection", "asset", "index", "time", "bands", "nodata", "dtype", "offset", "remap", "properties"}
_IMAGE_KEYS = _SHARED_KEYS | {"file"}
_MOSAIC_KEYS = _SHARED_KEYS | {"files", "crs", "transform", "resample"}


@dataclass(frozen=True, eq=False)
class Raster:
    """One file. Each band is read whole on first use and cached: the files of an index are small."""

    path: Path
    projection: Projection
    shape: tuple[int, int]
    lock: threading.Lock = field(default_factory=threading.Lock)
    cache: dict[int, NDArray[Any]] = field(default_factory=dict)

    def band(self, number: int) -> NDArray[Any]:
        """Band `number` (from 1) as (height, width) in the file's dtype. Thread-safe.

        Raises rasterio.errors.RasterioIOError when the file cannot be read.
        """
        with self.lock:
            if number not in self.cache:
                with rasterio.open(self.path) as source:
                    self.cache[number] = source.read(number)
            return self.cache[number]

    @cached_property
    def footprint(self) -> BaseGeometry:
        """The raster's outline in lon/lat, with vertices along its edges."""
        height, width = self.shape
        shape = PixelGrid(self.projection.crs, self.projection.transform, width, height).outline()
        return grids.project(shape.segmentize(max(shape.length / 64, 1e-9)), self.projection.crs, LONLAT)


@dataclass(frozen=True, eq=False)
class RasterBand:
    """One band of a file, with its Earth Engine name."""

    name: str
    dtype: np.dtype[Any]
    raster: Raster
    number: int
    nodata: float | None = None
    remap: Mapping[int, int] | None = None
    offset: int = 0

    @property
    def projection(self) -> Projection:
        return self.raster.projection

    @property
    def shape(self) -> tuple[int, int]:
        return self.raster.shape

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """See stored.Band.read."""
        values = np.zeros((window.height, window.width), self.dtype)
        valid = np.zeros(values.shape, dtype=np.bool_)
        rows, source_rows = _overlap(window.row, window.height, self.shape[0])
        columns, source_columns = _overlap(window.column, window.width, self.shape[1])
        part = self.raster.band(self.number)[source_rows, source_columns]
        known = _known(part, self.nodata)
        values[rows, columns], known = self._translated(part, known)
        valid[rows, columns] = known
        return values, valid

    def _translated(self, part: NDArray[Any], known: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        if self.remap is None:
            shifted = part.astype(np.int64) + self.offset if self.offset else part
            return saturated(np.where(known, shifted, 0), self.dtype), known
        result, mapped = np.zeros(part.shape, self.dtype), np.zeros(part.shape, dtype=np.bool_)
        for code, becomes in self.remap.items():
            result[part == code] = becomes
            mapped |= part == code
        return result, known & mapped


@dataclass(frozen=True, eq=False)
class MosaicBand:
    """Bands of several files, each in its own CRS, on one lattice; the first file with a valid pixel is used."""

    name: str
    dtype: np.dtype[Any]
    projection: Projection
    members: tuple[RasterBand, ...]
    resample: str = "nearest"

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """See stored.Band.read."""
        grid, scope = grids.window_grid(self.projection, window), Scope()
        values, valid = np.zeros(grid.shape, self.dtype), np.zeros(grid.shape, dtype=np.bool_)
        for member in self.members:
            if scope.outline(grid).intersects(member.raster.footprint):
                result, known = self._warped(member)(grid, scope)
                values = np.where(known & ~valid, result, values)
                valid = valid | known
        return values, valid

    def _warped(self, member: RasterBand) -> Compute:
        def read(grid: PixelGrid, scope: Scope) -> tuple[NDArray[Any], NDArray[np.bool_]]:
            window = grids.window_on(member.projection, grid)
            if window is None:
                raise ValueError(f"{member.raster.path} was asked for pixels off its lattice.")
            return member.read(window)

        return resampled(read, member.projection, self.resample, self.dtype)


def _overlap(start: int, size: int, limit: int) -> tuple[slice, slice]:
    """The overlap of a window's range with the raster's [0, limit), as slices (in the window, in the raster)."""
    first, last = max(start, 0), max(min(start + size, limit), max(start, 0))
    first = min(first, last)
    return slice(first - start, last - start), slice(first, last)


def _known(part: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    finite = np.isfinite(part) if part.dtype.kind == "f" else np.ones(part.shape, dtype=np.bool_)
    return finite if nodata is None else finite & (part != nodata)


def _opened(path: Path) -> Raster:
    with rasterio.open(path) as source:
        t = source.transform
        code = source.crs.to_epsg() if source.crs else None
        crs = f"EPSG:{code}" if code else (source.crs.to_wkt() if source.crs else LONLAT)
        return Raster(path, Projection(crs, (t.a, t.b, t.c, t.d, t.e, t.f)), (source.height, source.width))


def _milliseconds(value: Any) -> int:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _bands(entry: Mapping[str, Any], raster: Raster) -> tuple[RasterBand, ...]:
    remap = {int(code): int(new) for code, new in entry["remap"].items()} if "remap" in entry else None
    with rasterio.open(raster.path) as source:
        count, dtypes, own_nodata = source.count, source.dtypes, source.nodata
    names: Mapping[str, int] = entry["bands"]
    beyond = [name for name, number in names.items() if not 1 <= number <= count]
    if beyond:
        raise ValueError(f"{raster.path} has {count} bands; the index puts '{beyond[0]}' at {names[beyond[0]]}.")
    nodata, offset = entry.get("nodata", own_nodata), int(entry.get("offset", 0))
    return tuple(
        RasterBand(name, np.dtype(entry.get("dtype", dtypes[number - 1])), raster, number, nodata, remap, offset)
        for name, number in names.items()
    )


def _checked(entry: Mapping[str, Any], keys: set[str]) -> None:
    unknown = entry.keys() - keys
    if unknown:
        raise ValueError(f"Unknown key '{sorted(unknown)[0]}' in the raster index; use {', '.join(sorted(keys))}.")
    if "asset" not in entry and not {"collection", "index"} <= entry.keys():
        raise ValueError("Every entry of the raster index needs 'asset', or 'collection' and 'index'.")


def _identified(entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The asset id and the properties of an entry."""
    identifier = entry.get("asset") or f"{entry['collection']}/{entry['index']}"
    properties = {**entry.get("properties", {}), "system:index": identifier.rsplit("/", 1)[-1]}
    if "time" in entry:
        properties["system:time_start"] = _milliseconds(entry["time"])
    return identifier, properties


def _image(root: Path, entry: Mapping[str, Any]) -> StoredImage:
    _checked(entry, _IMAGE_KEYS)
    raster = _opened(root / entry["file"])
    identifier, properties = _identified(entry)
    return StoredImage(identifier, _bands(entry, raster), properties, raster.footprint)


def _mosaic(root: Path, entry: Mapping[str, Any]) -> StoredImage:
    _checked(entry, _MOSAIC_KEYS)
    rasters = [_opened(root / name) for name in entry["files"]]
    members = [_bands(entry, raster) for raster in rasters]
    lattice = projection_of(entry["crs"], entry["transform"])
    bands = tuple(
        MosaicBand(same[0].name, same[0].dtype, lattice, same, entry.get("resample", "nearest"))
        for same in zip(*members, strict=True)
    )
    identifier, properties = _identified(entry)
    return StoredImage(identifier, bands, properties, shapely.union_all([r.footprint for r in rasters]))


class RasterFolder:
    """A stored.Catalog of the rasters under `root` that the TOML file `index` lists.

    Raises ValueError when the index does not fit its files, OSError when a file does not exist.
    """

    def __init__(self, root: Path, index: Path) -> None:
        document = tomllib.loads(Path(index).read_text(encoding="utf-8"))
        self._images: dict[str, StoredImage] = {}
        self._members: dict[str, list[StoredImage]] = {}
        for entry in document.get("image", []):
            self._add(entry, _image(Path(root), entry))
        for entry in document.get("mosaic", []):
            self._add(entry, _mosaic(Path(root), entry))

    def _add(self, entry: Mapping[str, Any], image: StoredImage) -> None:
        if image.asset_id in self._images:
            raise ValueError(f"The raster index names {image.asset_id} twice.")
        self._images[image.asset_id] = image
        if "collection" in entry:
            members = self._members.setdefault(entry["collection"], [])
            members.append(image)
            members.sort(key=lambda member: member.asset_id)

    def describe(self, asset_id: str) -> dict[str, Any] | None:
        if asset_id in self._members:
            return {"type": "IMAGE_COLLECTION", "properties": {}}
        return {"type": "IMAGE", "properties": {}} if asset_id in self._images else None

    def image(self, asset_id: str) -> StoredImage | None:
        return self._images.get(asset_id)

    def images(self, collection_id: str, query: Query) -> Iterable[StoredImage] | None:
        members = self._members.get(collection_id)
        return None if members is None else [image for image in members if _may_match(image, query)]

    def table(self, asset_id: str) -> list[StoredFeature] | None:
        return None

    def children(self, asset_id: str) -> list[str] | None:
        held = [*self._members, *(i for i in self._images if i.rsplit("/", 1)[0] not in self._members)]
        return sorted(name for name in held if name.startswith(f"{asset_id}/")) or None


def _may_match(image: StoredImage, query: Query) -> bool:
    if query.region is not None and image.footprint is not None and not image.footprint.intersects(query.region):
        return False
    start = image.properties.get("system:time_start")
    after = query.start_ms is None or (start is not None and start >= query.start_ms)
    before = query.end_ms is None or (start is not None and start < query.end_ms)
    return after and before
