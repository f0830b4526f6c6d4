"""Features, and what features and images have in common (properties, geometry, system:index)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.functions import geometry as geometries
from sandbox.functions.dates import Date
from sandbox.functions.geometry import Geometry
from sandbox.functions.images import Image, world
from sandbox.registry import REGISTRY, algorithm


@dataclass(frozen=True, eq=False)
class Feature:
    """A geometry (or none) with properties."""

    geometry: Geometry | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


Element = Feature | Image


def element_geometry(element: Element) -> Geometry | None:
    """The feature's geometry, or the image's footprint (the whole world for an unbounded image)."""
    if isinstance(element, Feature):
        return element.geometry
    return Geometry(world() if element.footprint is None else element.footprint)


def index_of(element: Element) -> str | None:
    """The system:index."""
    value = element.properties.get("system:index")
    return None if value is None else str(value)


def with_property(element: Element, key: str, value: Any) -> Any:
    """The element with one property set."""
    stored = value.ms if isinstance(value, Date) and key in ("system:time_start", "system:time_end") else value
    properties = {**element.properties, key: stored}
    if isinstance(element, Image):
        return element.with_properties(properties)
    return replace(element, properties=properties)


def property_of(element: Element, key: str) -> Any:
    """A property, or the geometry for ".geo" and ".all"; None if the element does not have it."""
    if key in (".geo", ".all"):
        return element_geometry(element)
    if key == "system:id" and not isinstance(element, Feature):
        return element.asset_id
    if key == "system:footprint" and isinstance(element, Image) and element.footprint is not None:
        return Geometry(element.footprint)
    return element.properties.get(key)


@algorithm("Feature")
def feature(geometry: Geometry | None, metadata: Mapping[str, Any] | None, key: str | None) -> Feature:
    return Feature(geometry, dict(metadata or {}))


@algorithm("Feature.geometry", "Element.geometry", "Image.geometry")
def geometry_of(element: Element, error: Any, proj: Any, geodesics: Any) -> Geometry | None:
    return element_geometry(element)


@algorithm("Feature.setGeometry")
def set_geometry(element: Feature, geometry: Geometry | None) -> Feature:
    return replace(element, geometry=geometry)


@algorithm("Feature.id", "Image.id")
def element_id(element: Element) -> str | None:
    return index_of(element)


@algorithm("Element.get")
def get(element: Element, key: str) -> Any:
    return property_of(element, key)


@algorithm("Element.getNumber", "Element.getString")
def get_typed(element: Element, key: str) -> Any:
    return property_of(element, key)


@algorithm("Element.set")
def set_property(element: Element, key: str, value: Any) -> Any:
    return with_property(element, key, value)


@algorithm("Element.setMulti")
def set_properties(element: Element, properties: Mapping[str, Any]) -> Any:
    for key, value in properties.items():
        element = with_property(element, key, value)
    return element


@algorithm("Element.propertyNames")
def property_names(element: Element) -> list[str]:
    bounded = isinstance(element, Image) and element.footprint is not None
    return [*element.properties, *(["system:footprint"] if bounded else [])]


@algorithm("Element.toDictionary")
def to_dictionary(element: Element, properties: list[str] | None) -> dict[str, Any]:
    names = properties or [name for name in element.properties if not name.startswith("system:")]
    return {name: property_of(element, name) for name in names}


@algorithm("Element.copyProperties", "Image.copyProperties")
def copy_properties(target: Element, source: Element | None, only: Any, exclude: Any) -> Any:
    if source is None:
        return target
    names = only or [name for name in source.properties if not name.startswith("system:")]
    copied = {name: source.properties[name] for name in names if name in source.properties}
    selected = {name: value for name, value in copied.items() if name not in (exclude or [])}
    return replace(target, properties={**target.properties, **selected})


@algorithm("Feature.select")
def select(element: Feature, selectors: list[str], new_names: list[str] | None, keep_geometry: bool) -> Feature:
    names = new_names or selectors
    picked = {new: element.properties.get(old) for old, new in zip(selectors, names, strict=True)}
    picked["system:index"] = element.properties.get("system:index")
    return Feature(element.geometry if keep_geometry else None, picked)


def _of_one(name: str, made: Callable[[Any, Element], Any]) -> None:
    on_geometry = REGISTRY[f"Geometry.{name}"]

    @algorithm(f"Feature.{name}")
    def apply(element: Element, *arguments: Any) -> Any:
        geometry = element_geometry(element)
        return made(None if geometry is None else on_geometry(geometry, *arguments), element)


def _of_two(name: str, made: Callable[[Any, Element], Any]) -> None:
    on_geometry = REGISTRY[f"Geometry.{name}"]

    @algorithm(f"Feature.{name}")
    def apply(left: Element, right: Element, *arguments: Any) -> Any:
        first, second = element_geometry(left), element_geometry(right)
        return made(on_geometry(first or _EMPTY, second or _EMPTY, *arguments), left)


def _value(result: Any, element: Element) -> Any:
    return result


def _feature(result: Any, element: Element) -> Feature:
    return Feature(result, element.properties)


_EMPTY = Geometry(geometries.Polygon())

for _name in ("buffer", "bounds", "centroid", "convexHull", "simplify", "transform", "dissolve"):
    _of_one(_name, _feature)
for _name in ("area", "length", "perimeter"):
    _of_one(_name, _value)
for _name in ("intersects", "disjoint", "contains", "containedIn", "distance", "withinDistance"):
    _of_two(_name, _value)
for _name in ("intersection", "union", "difference", "symmetricDifference"):
    _of_two(_name, _feature)
