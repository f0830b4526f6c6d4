"""A small catalogue of NumPy arrays, for tests that must know every pixel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from pyproj import Transformer
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from sandbox.raster.stored import Projection, Query, StoredFeature, StoredImage, Window


@dataclass(frozen=True, eq=False)
class ArrayBand:
    """A band whose pixels are an array; `valid` defaults to everywhere."""

    name: str
    values: Any
    projection: Projection
    valid: Any = None

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    @property
    def shape(self) -> tuple[int, int]:
        return self.values.shape

    def read(self, window: Window) -> tuple[Any, Any]:
        values = np.zeros((window.height, window.width), self.values.dtype)
        valid = np.zeros(values.shape, dtype=bool)
        rows = np.arange(window.row, window.row + window.height)
        columns = np.arange(window.column, window.column + window.width)
        row_in = (rows >= 0) & (rows < self.values.shape[0])
        column_in = (columns >= 0) & (columns < self.values.shape[1])
        target, source = np.ix_(row_in, column_in), np.ix_(rows[row_in], columns[column_in])
        values[target] = self.values[source]
        valid[target] = True if self.valid is None else self.valid[source]
        return values, valid


def outline(band: ArrayBand) -> BaseGeometry:
    """The band's rectangle in lon/lat."""
    a, _, c, _, e, f = band.projection.transform
    height, width = band.values.shape
    shape = box(min(c, c + a * width), min(f, f + e * height), max(c, c + a * width), max(f, f + e * height))
    if band.projection.crs == "EPSG:4326":
        return shape
    move = Transformer.from_crs(band.projection.crs, "EPSG:4326", always_xy=True).transform
    edges = shape.segmentize(max(width * abs(a), height * abs(e)) / 16)
    return shapely.transform(edges, lambda xy: np.column_stack(move(xy[:, 0], xy[:, 1])))


def array_image(asset_id: str, bands: list[ArrayBand], **properties: Any) -> StoredImage:
    """A stored image whose footprint is the outline of its first band."""
    renamed = {key.replace("system_", "system:"): value for key, value in properties.items()}
    return StoredImage(asset_id, tuple(bands), renamed, outline(bands[0]) if bands else None)


@dataclass
class ArrayCatalog:
    """A stored.Catalog of what it is given. `images` ignores the query unless `obeys`: more is allowed."""

    single: Mapping[str, StoredImage] = field(default_factory=dict)
    collections: Mapping[str, list[StoredImage]] = field(default_factory=dict)
    tables: Mapping[str, list[StoredFeature]] = field(default_factory=dict)
    queries: list[Query] = field(default_factory=list)

    def describe(self, asset_id: str) -> dict[str, Any] | None:
        for kind, held in (("IMAGE", self.single), ("IMAGE_COLLECTION", self.collections), ("TABLE", self.tables)):
            if asset_id in held:
                return {"type": kind, "properties": {}}
        if any(i.asset_id == asset_id for images in self.collections.values() for i in images):
            return {"type": "IMAGE", "properties": {}}
        return {"type": "FOLDER", "properties": {}} if self.children(asset_id) else None

    def image(self, asset_id: str) -> StoredImage | None:
        members = {i.asset_id: i for images in self.collections.values() for i in images}
        return self.single.get(asset_id) or members.get(asset_id)

    def images(self, collection_id: str, query: Query) -> Iterable[StoredImage] | None:
        self.queries.append(query)
        result = self.collections.get(collection_id)
        return None if result is None else sorted(result, key=lambda image: image.asset_id)

    def table(self, asset_id: str) -> list[StoredFeature] | None:
        return self.tables.get(asset_id)

    def children(self, asset_id: str) -> list[str] | None:
        held = [*self.single, *self.collections, *self.tables]
        result = [name for name in held if name.startswith(f"{asset_id}/")]
        return result or None


UTM_10M = Projection("EPSG:32632", (10.0, 0.0, 500000.0, 0.0, -10.0, 5100000.0))
UTM_20M = Projection("EPSG:32632", (20.0, 0.0, 500000.0, 0.0, -20.0, 5100000.0))
DEGREES = Projection("EPSG:4326", (1 / 3600, 0.0, 8.9, 0.0, -1 / 3600, 46.1))


def day_ms(text: str) -> int:
    """Milliseconds of a day at midnight UTC."""
    return int(np.datetime64(text, "ms").astype(np.int64))


def ramp(height: int, width: int, dtype: Any = np.uint16) -> Any:
    """Values that differ in every pixel: 100 * row + column."""
    return (100 * np.arange(height)[:, None] + np.arange(width)[None, :]).astype(dtype)


def square(west: float, south: float, size: float) -> BaseGeometry:
    """A lon/lat square."""
    return shapely.box(west, south, west + size, south + size)
