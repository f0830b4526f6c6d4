"""Real rasters of a folder as Earth Engine assets, described by a small TOML index (docs/sandbox.md has its keys).

An [[image]] is one file in its own CRS; a [[mosaic]] is several files as one image on a given lattice.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray

from sandbox.catalogues.rasters import Packing, Raster, RasterBand, opened
from sandbox.functions.images import Compute, resampled
from sandbox.functions.projections import projection_of
from sandbox.functions.scope import Scope
from sandbox.raster import grids
from sandbox.raster.grids import PixelGrid
from sandbox.raster.pyramids import POLICIES
from sandbox.raster.stored import Projection, Query, StoredFeature, StoredImage, Window

_SHARED_KEYS = {"collection", "asset", "index", "time", "bands", "nodata", "dtype", "scale", "offset", "remap",
                "properties"}  # fmt: skip
_IMAGE_KEYS = _SHARED_KEYS | {"file", "pyramid"}
_MOSAIC_KEYS = _SHARED_KEYS | {"files", "crs", "transform", "resample"}


@dataclass(frozen=True, eq=False)
class MosaicBand:
    """Bands of several files, each in its own CRS, on one lattice without levels; the first valid pixel is used."""

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

        height, width = member.shape
        return resampled(read, member.projection, self.resample, self.dtype, Window(0, 0, width, height))


def _milliseconds(value: Any) -> int:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _bands(entry: Mapping[str, Any], raster: Raster) -> tuple[RasterBand, ...]:
    names: Mapping[str, int] = entry["bands"]
    beyond = [name for name, number in names.items() if not 1 <= number <= raster.count]
    if beyond:
        raise ValueError(f"{raster.path} has {raster.count} bands; the index puts '{beyond[0]}' at {names[beyond[0]]}.")
    return tuple(_band(entry, raster, name, number) for name, number in names.items())


def _band(entry: Mapping[str, Any], raster: Raster, name: str, number: int) -> RasterBand:
    """A band with what the index says of it; its own tags hold for the rest."""
    with rasterio.open(raster.path) as source:
        stored, nodata = np.dtype(source.dtypes[number - 1]), source.nodatavals[number - 1]
        scale, offset = source.scales[number - 1], source.offsets[number - 1]
    packing = Packing(entry.get("scale", scale), entry.get("offset", offset))
    remap = {int(code): int(new) for code, new in entry["remap"].items()} if "remap" in entry else None
    dtype = np.dtype(entry["dtype"]) if "dtype" in entry else stored if remap else packing.dtype_of(stored)
    pyramid = entry.get("pyramid", "mode" if remap else "mean")
    return RasterBand(name, dtype, raster, number, entry.get("nodata", nodata), remap, packing, pyramid)


def _checked(entry: Mapping[str, Any], keys: set[str]) -> None:
    unknown = entry.keys() - keys
    if unknown:
        raise ValueError(f"Unknown key '{sorted(unknown)[0]}' in the raster index; use {', '.join(sorted(keys))}.")
    if entry.get("pyramid", "mean") not in POLICIES:
        raise ValueError(f"Unknown pyramid '{entry['pyramid']}' in the raster index; use {', '.join(POLICIES)}.")
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
    raster = opened(root / entry["file"])
    identifier, properties = _identified(entry)
    return StoredImage(identifier, _bands(entry, raster), properties, raster.footprint)


def _mosaic(root: Path, entry: Mapping[str, Any]) -> StoredImage:
    _checked(entry, _MOSAIC_KEYS)
    rasters = [opened(root / name) for name in entry["files"]]
    members = [_bands(entry, raster) for raster in rasters]
    lattice = projection_of(entry["crs"], entry["transform"])
    bands = tuple(
        MosaicBand(same[0].name, same[0].dtype, lattice, same, entry.get("resample", "nearest"))
        for same in zip(*members, strict=True)
    )
    identifier, properties = _identified(entry)
    return StoredImage(identifier, bands, properties, shapely.union_all([r.footprint for r in rasters]))


def _read(index: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(index.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{index} is no TOML that can be read: {error}") from error


class RasterFolder:
    """A stored.Catalog of the rasters under `root` that the TOML file `index` lists.

    Raises ValueError when the index cannot be read or does not fit its files, or a file lies nowhere on Earth, OSError
    when a file does not exist.
    """

    def __init__(self, root: Path, index: Path) -> None:
        document = _read(Path(index))
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
