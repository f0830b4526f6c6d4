"""Feature and image collections: lazy, in Earth Engine's order, with filters that the catalogue can apply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from sandbox.errors import EarthEngineError, not_found, too_many_elements
from sandbox.functions import images
from sandbox.functions.dates import Date
from sandbox.functions.features import Element, Feature, element_geometry, index_of, property_of, with_property
from sandbox.functions.filters import Filter, narrowed, shape_of
from sandbox.functions.geometry import Geometry, bounded
from sandbox.functions.images import Image
from sandbox.limits import ELEMENTS
from sandbox.raster.stored import Catalog, Query, QueryTooLarge
from sandbox.registry import algorithm, catalog_algorithm

Source = Callable[[Query], Iterable[Any]]


def accumulated(members: Iterable[Any]) -> list[Any]:
    """All members. Raises EarthEngineError when there are more than `sandbox.limits.ELEMENTS`."""
    most = ELEMENTS.get()
    if most is None:
        return list(members)
    result = list(islice(iter(members), most + 1))
    if len(result) > most:
        raise too_many_elements(most)
    return result


@dataclass(frozen=True, eq=False)
class Collection:
    """A lazy collection: `source` yields the elements of a query, then `tests` apply the complete filters.

    It is an element as well, with properties of its own.
    """

    source: Source
    of_images: bool = False
    tests: tuple[Filter, ...] = ()
    asset_id: str | None = None
    count: int | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Any]:
        return self.among(Query())

    def among(self, wanted: Query) -> Iterator[Any]:
        """The elements; those that do not match `wanted` may be left out, for whoever filters them later."""
        query = Query()
        for test in self.tests:
            query = narrowed(query, test.query)
        if self.count is None:
            query = narrowed(query, wanted)
        try:
            result = iter(self.source(query))
            for test in self.tests:
                result = filter(test.matches, result)
            yield from islice(result, self.count)
        except QueryTooLarge as error:
            raise too_many_elements() from error

    def over(self, source: Source) -> Collection:
        """The same collection with the elements of another source."""
        return replace(self, source=source, tests=(), count=None)

    def filtered(self, condition: Filter) -> Collection:
        """The elements that meet a condition; of a limited collection, those that are left."""
        whole = self if self.count is None else self.over(lambda query: self)
        return replace(whole, tests=(*whole.tests, condition))

    def elements(self) -> list[Any]:
        """All elements. Raises EarthEngineError when there are more than may be accumulated, as Earth Engine does."""
        return accumulated(self)

    def united(self) -> BaseGeometry:
        """The union of all geometries, in lon/lat degrees."""
        shapes = [geometry.lonlat for e in self if (geometry := element_geometry(e)) is not None]
        return shapely.union_all(shapes) if shapes else shapely.GeometryCollection()


def of_elements(elements: list[Any], of_images: bool = False) -> Collection:
    """A collection of the elements of a list."""
    return Collection(lambda query: elements, of_images)


def _indexed(elements: list[Any]) -> list[Any]:
    return [e if index_of(e) is not None else with_property(e, "system:index", str(i))
            for i, e in enumerate(elements)]  # fmt: skip


def coerced_collection(value: Any) -> Collection:
    """A collection of one feature, image or geometry, or of a list of them."""
    if isinstance(value, Collection):
        return value
    members = value if isinstance(value, list) else [value]
    elements = [Feature(member) if isinstance(member, Geometry) else member for member in members]
    return of_elements(_indexed(elements), any(isinstance(e, Image) for e in elements))


@algorithm("Collection")
def collection(features: list[Any]) -> Collection:
    return coerced_collection(features)


@algorithm("ImageCollection.fromImages")
def from_images(members: list[Image]) -> Collection:
    return of_elements([with_property(e, "system:index", str(i)) for i, e in enumerate(members)], True)


@catalog_algorithm("ImageCollection.load")
def load_images(catalog: Catalog, asset_id: str, version: Any) -> Collection:
    described = catalog.describe(asset_id)
    if described is None or described.get("type") != "IMAGE_COLLECTION":
        raise not_found("ImageCollection.load: ImageCollection asset", asset_id)

    def source(query: Query) -> Iterable[Image]:
        result = catalog.images(asset_id, query)
        return (images.from_stored(image) for image in result or ())

    return Collection(source, True, asset_id=asset_id, properties=described.get("properties", {}))


@catalog_algorithm("Collection.loadTable")
def load_table(catalog: Catalog, table_id: str, geometry_column: Any, version: Any) -> Collection:
    table = catalog.table(table_id)
    if table is None:
        raise not_found("Collection.loadTable: Collection asset", table_id)
    rows = [
        Feature(None if row.geometry is None else Geometry(row.geometry),
                {**row.properties, "system:index": row.feature_id})
        for row in table
    ]  # fmt: skip
    return Collection(lambda query: rows, False, asset_id=table_id)


@algorithm("Collection.filter")
def filter_collection(members: Collection, condition: Filter) -> Collection:
    return members.filtered(condition)


def sort_key(value: Any) -> tuple[int, Any]:
    """A key for the ascending order of property values: numbers, then text, then elements without the property."""
    if value is None:
        return 2, 0
    if isinstance(value, Date):
        return 0, value.ms
    return (0, value) if isinstance(value, (int, float)) else (1, str(value))


@algorithm("Collection.limit")
def limit(members: Collection, count: int | None, key: str | None, ascending: bool) -> Collection:
    def ordered(query: Query) -> Iterable[Any]:
        found = members.among(query)
        if key is None:
            return found
        return sorted(found, key=lambda e: sort_key(property_of(e, key)), reverse=not ascending)

    return replace(members.over(ordered), count=count)


@algorithm("Collection.map")
def map_collection(members: Collection, function: Any, drop_nulls: bool) -> Collection:
    def kept(key: str) -> bool:
        return bool(key == "system:index" or function.keeps(key))

    def mapped(query: Query) -> Iterator[Any]:
        for element in members.among(query.about(kept)):
            result = function(element)
            if result is None and drop_nulls:
                continue
            yield _mapped_element(element, result)

    return members.over(mapped)


def _mapped_element(element: Element, result: Any) -> Any:
    if isinstance(result, Collection):
        return result
    if not isinstance(result, (Feature, Image)):
        raise EarthEngineError("Collection.map: A mapped algorithm must return a Feature or Image.")
    index = element.properties.get("system:index")
    if index is None or result.properties.get("system:index") is index:
        return result
    return with_property(result, "system:index", str(index))


@algorithm("Collection.iterate")
def iterate(members: Collection, function: Callable[[Any, Any], Any], first: Any) -> Any:
    for element in members:
        first = function(element, first)
    return first


@algorithm("Collection.first")
def first_element(members: Collection) -> Any:
    return next(iter(members), None)


@algorithm("Collection.size")
def size(members: Collection) -> int:
    return sum(1 for _ in members)


@algorithm("Collection.toList")
def to_list(members: Collection, count: int, offset: int) -> list[Any]:
    return accumulated(islice(iter(members), offset, offset + count))


@algorithm("Collection.merge", "ImageCollection.merge")
def merge(first: Collection, second: Collection) -> Collection:
    def both(query: Query) -> Iterator[Any]:
        for prefix, members in (("1_", first), ("2_", second)):
            for element in members.among(query.about(lambda key: key != "system:index")):
                yield with_property(element, "system:index", f"{prefix}{index_of(element)}")

    return Collection(both, first.of_images or second.of_images)


@algorithm("Collection.flatten")
def flatten(members: Collection) -> Collection:
    def flat(query: Query) -> Iterator[Any]:
        for element in members:
            yield from element if isinstance(element, Collection) else [element]

    return Collection(flat, members.of_images)


@algorithm("Collection.distinct")
def distinct(members: Collection, properties: Any) -> Collection:
    names = properties if isinstance(properties, list) else [properties]

    def unique(query: Query) -> Iterator[Any]:
        seen = set()
        for element in members:
            key = repr([_hashable(property_of(element, name)) for name in names])
            if key not in seen:
                seen.add(key)
                yield element

    return Collection(unique, members.of_images)


def _hashable(value: Any) -> Any:
    return value.lonlat.wkt if isinstance(value, Geometry) else value


@algorithm("Collection.geometry")
def collection_geometry(members: Collection, error: Any) -> Geometry:
    return Geometry(members.united())


@algorithm("Collection.union")
def union(members: Collection, error: Any) -> Collection:
    return of_elements([Feature(Geometry(members.united()), {"system:index": "0"})])


@algorithm("Collection.bounds")
def collection_bounds(members: Collection, error: Any, proj: Any) -> Geometry:
    return bounded(Geometry(members.united()), proj)


@algorithm("Collection.randomColumn")
def random_column(members: Collection, name: str, seed: int, distribution: str, keys: Any) -> Collection:
    def drawn(query: Query) -> Iterator[Any]:
        generator = np.random.default_rng(int(seed))
        draw = generator.normal if distribution == "normal" else generator.random
        for element in members:
            yield with_property(element, name, float(draw()))

    return Collection(drawn, members.of_images)


def _points_in(shape: BaseGeometry, count: int, generator: np.random.Generator) -> list[tuple[float, float]]:
    """(lon, lat) degrees of points drawn uniformly by area on the sphere, by rejection from the bounding box."""
    west, south, east, north = shape.bounds
    low, high = np.sin(np.radians([south, north]))
    points: list[tuple[float, float]] = []
    for _ in range(10_000):
        lon = generator.uniform(west, east, 4 * count + 64)
        lat = np.degrees(np.arcsin(generator.uniform(low, high, 4 * count + 64)))
        inside = shapely.contains_xy(shape, lon, lat)
        points += zip(lon[inside].tolist(), lat[inside].tolist(), strict=True)
        if len(points) >= count:
            return points[:count]
    raise EarthEngineError("FeatureCollection.randomPoints: Computation timed out.")


@algorithm("FeatureCollection.randomPoints")
def random_points(region: Any, count: int, seed: int, error: Any) -> Collection:
    shape = shape_of(region)
    if shape is None or shape.is_empty or shape.area == 0:
        raise EarthEngineError("FeatureCollection.randomPoints: The region must be a polygon with an area.")
    shapely.prepare(shape)
    points = _points_in(shape, count, np.random.default_rng(int(seed) % 2**63))
    return of_elements(
        [Feature(Geometry(shapely.Point(point)), {"system:index": str(i)}) for i, point in enumerate(points)]
    )


def _aggregated(name: str, summarise: Callable[[list[Any]], Any]) -> None:
    @algorithm(f"AggregateFeatureCollection.{name}")
    def aggregate(members: Collection, key: str) -> Any:
        values = (property_of(element, key) for element in members)
        return summarise([value for value in values if value is not None])


_aggregated("array", lambda values: values)
_aggregated("first", lambda values: values[0] if values else None)
_aggregated("count", len)
_aggregated("count_distinct", lambda values: len({repr(value) for value in values}))
_aggregated("min", lambda values: min(values, key=sort_key, default=None))
_aggregated("max", lambda values: max(values, key=sort_key, default=None))
_aggregated("sum", lambda values: sum(values))
_aggregated("product", lambda values: float(np.prod(values)))
_aggregated("mean", lambda values: float(np.mean(values)) if values else None)
_aggregated("total_sd", lambda values: float(np.std(values)) if values else None)
_aggregated("sample_sd", lambda values: float(np.std(values, ddof=1)) if len(values) > 1 else None)
_aggregated("histogram", lambda values: {str(value): values.count(value) for value in dict.fromkeys(values)})
