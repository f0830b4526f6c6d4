"""What a catalogue holds: images whose bands are read by windows of native pixels, and feature tables.

This is the contract between the evaluator, which knows Earth Engine's semantics, and the source of the data
(the procedural planet, a folder of real rasters, a test's arrays).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

Values = NDArray[Any]
Valid = NDArray[np.bool_]


@dataclass(frozen=True)
class Projection:
    """A CRS and the affine transform from pixel (column, row) corners to its coordinates.

    `transform` is in Earth Engine's order: [x_scale, x_shear, x_origin, y_shear, y_scale, y_origin].
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Window:
    """A rectangle of a band's native pixels; it may extend beyond the band (those pixels are masked)."""

    column: int
    row: int
    width: int
    height: int

    def intersection(self, other: Window) -> Window:
        """The pixels of both; without pixels where they are apart."""
        left, top = max(self.column, other.column), max(self.row, other.row)
        right = min(self.column + self.width, other.column + other.width)
        bottom = min(self.row + self.height, other.row + other.height)
        return Window(left, top, max(right - left, 0), max(bottom - top, 0))

    def placed(self, values: Values, part: Window) -> Values:
        """Values (..., height, width) of a part of this window in all of it, with 0 around them."""
        if part == self:
            return values
        top, left = part.row - self.row, part.column - self.column
        out = np.zeros((*values.shape[:-2], self.height, self.width), values.dtype)
        out[..., top : top + part.height, left : left + part.width] = values
        return out


class Band(Protocol):
    """One band of a stored image. Thread-safe; the same window always gives the same pixels."""

    @property
    def name(self) -> str: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def projection(self) -> Projection: ...

    def read(self, window: Window) -> tuple[Values, Valid]:
        """Values (height, width) in `dtype` and the valid mask (height, width) bool, false outside the band."""
        ...


class Poll(Protocol):
    """Label bands of one lattice that can be counted together, which costs less than reading each band."""

    def counts(
        self, voters: Sequence[Any], window: Window
    ) -> Sequence[tuple[NDArray[np.uint8], NDArray[np.unsignedinteger[Any]]]]:
        """Pairs of (height, width) arrays, at least one: a label of each pixel, and how many of the voters have it."""
        ...


@dataclass(frozen=True)
class Vote:
    """A band as a voter of a poll; a stored band of bytes may have this as its attribute `vote`."""

    poll: Poll
    voter: Any


@dataclass(frozen=True)
class StoredImage:
    """An image of the catalogue; `footprint` is lon/lat (None: the whole world)."""

    asset_id: str
    bands: Sequence[Band]
    properties: Mapping[str, Any] = field(default_factory=dict)
    footprint: BaseGeometry | None = None


@dataclass(frozen=True)
class Query:
    """The conditions that the evaluator pushes down; a catalogue may return too many images, never too few.

    `start_ms` is inclusive and `end_ms` exclusive (milliseconds since 1970, on system:time_start).
    `property_equals` are exact matches such as ("orbitProperties_pass", "ASCENDING"). `property_at_most` are upper
    bounds of numbers such as ("CLOUDY_PIXEL_PERCENTAGE", 10.0); an image without the property also matches.
    """

    region: BaseGeometry | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    property_equals: tuple[tuple[str, Any], ...] = ()
    property_at_most: tuple[tuple[str, float], ...] = ()

    def about(self, accepts: Callable[[str], bool]) -> Query:
        """The conditions on those properties that are accepted; that on the region is on ".geo"."""
        in_time = accepts("system:time_start")
        return Query(
            self.region if accepts(".geo") else None,
            self.start_ms if in_time else None,
            self.end_ms if in_time else None,
            tuple(pair for pair in self.property_equals if accepts(pair[0])),
            tuple(pair for pair in self.property_at_most if accepts(pair[0])),
        )


class QueryTooLarge(Exception):
    """The query needs more images than Earth Engine lists (5,000)."""


@dataclass(frozen=True)
class StoredFeature:
    """A row of a stored table; geometry in lon/lat."""

    feature_id: str
    geometry: BaseGeometry | None
    properties: Mapping[str, Any]


class Catalog(Protocol):
    """A source of assets by Earth Engine's ids. Every method returns None for an id that it does not hold."""

    def describe(self, asset_id: str) -> dict[str, Any] | None:
        """{"type": "IMAGE" | "IMAGE_COLLECTION" | "TABLE" | "FOLDER", "properties": {...}}."""
        ...

    def image(self, asset_id: str) -> StoredImage | None: ...

    def images(self, collection_id: str, query: Query) -> Iterable[StoredImage] | None:
        """Images in ascending order of system:index (Earth Engine's default collection order).

        Raises QueryTooLarge when the query needs more than 5,000 images.
        """
        ...

    def table(self, asset_id: str) -> list[StoredFeature] | None: ...

    def children(self, asset_id: str) -> list[str] | None:
        """Ids of the assets directly below a folder."""
        ...
