"""Converts arguments to the types of the published signatures, or rejects them with Earth Engine's error text."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from sandbox.errors import EarthEngineError
from sandbox.functions import images
from sandbox.functions.dates import Date, DateRange, coerced_date
from sandbox.functions.element_collections import Collection, coerced_collection
from sandbox.functions.error_margins import ErrorMargin
from sandbox.functions.features import Feature
from sandbox.functions.filters import Filter
from sandbox.functions.geometry import Geometry, geometry_from_geojson
from sandbox.functions.images import Image
from sandbox.functions.projections import projection_of
from sandbox.functions.reducers import Reducer
from sandbox.raster.stored import Projection


def type_name(value: Any) -> str:
    """The name of a value's type in Earth Engine's messages."""
    for kind, name in _TYPE_NAMES:
        if isinstance(value, kind):
            return name
    return "ImageCollection" if getattr(value, "of_images", False) else "FeatureCollection"


_TYPE_NAMES: list[tuple[Any, str]] = [
    (bool, "Boolean"), (int, "Integer"), (float, "Float"), (str, "String"), (list, "List<Object>"),
    (dict, "Dictionary<Object>"), (Image, "Image<unknown bands>"), (Feature, "Feature"), (Date, "Date"),
    (DateRange, "DateRange"), (Geometry, "Geometry"), (Projection, "Projection"), (Filter, "Filter"),
    (Reducer, "Reducer"),
]  # fmt: skip


class Mismatch(Exception):
    """The value cannot be converted to the declared type."""


def _image(value: Any) -> Image:
    if isinstance(value, Image):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, list)):
        raise Mismatch
    return images.constant(value)


def _geometry(value: Any) -> Geometry:
    if isinstance(value, Geometry):
        return value
    if isinstance(value, Feature) and value.geometry is not None:
        return value.geometry
    if isinstance(value, Collection):
        return Geometry(value.united())
    if isinstance(value, dict) and "type" in value:
        return geometry_from_geojson(value)
    raise Mismatch


def _projection(value: Any) -> Projection:
    if isinstance(value, dict) and "crs" in value:
        return projection_of(value["crs"], value.get("transform"))
    if isinstance(value, (str, Projection)):
        return projection_of(value)
    raise Mismatch


def _number(value: Any) -> float | int:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return value
    raise Mismatch


def _integer(value: Any) -> int:
    number = _number(value)
    if int(number) != number:
        raise Mismatch
    return int(number)


def _float(value: Any) -> float:
    return float(_number(value))


def _boolean(value: Any) -> bool:
    if isinstance(value, (bool, int, float)):
        return bool(value)
    raise Mismatch


def _error_margin(value: Any) -> ErrorMargin:
    if isinstance(value, dict):
        return ErrorMargin(float(value.get("value", 0.0)), value.get("unit", "meters"))
    return value if isinstance(value, ErrorMargin) else ErrorMargin(float(_number(value)))


def _instance(*kinds: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, kinds):
            raise Mismatch
        return value

    return check


def _collection(value: Any) -> Collection:
    if not isinstance(value, (Collection, list, Feature, Geometry, Image)):
        raise Mismatch
    return coerced_collection(value)


def _list(value: Any) -> list[Any]:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Collection):
        return value.elements()
    return list(_instance(list)(value))


def _algorithm(value: Any) -> Any:
    if not callable(getattr(value, "named", None)):
        raise Mismatch
    return value


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "Image": _image,
    "Geometry": _geometry,
    "Projection": _projection,
    "Number": _number,
    "Integer": _integer,
    "Long": _integer,
    "Float": _float,
    "Double": _float,
    "Boolean": _boolean,
    "String": _instance(str),
    "Date": coerced_date,
    "DateRange": _instance(DateRange),
    "ErrorMargin": _error_margin,
    "Filter": _instance(Filter),
    "Reducer": _instance(Reducer),
    "Feature": lambda value: Feature(value) if isinstance(value, Geometry) else _instance(Feature)(value),
    "Element": lambda value: (
        Feature(value) if isinstance(value, Geometry) else _instance(Feature, Image, Collection)(value)
    ),
    "FeatureCollection": _collection,
    "ImageCollection": _collection,
    "List": _list,
    "Dictionary": lambda value: dict(value.properties) if isinstance(value, Feature) else _instance(dict)(value),
    "Algorithm": _algorithm,
}


@cache
def conversion(declared: str) -> Callable[[Any], Any] | None:
    """The conversion to a declared type, or None for types that are not converted."""
    if declared.startswith("List<Image"):
        return lambda value: [_image(item) for item in _list(value)]
    return _CONVERSIONS.get(declared.split("<", 1)[0])


def coerced(value: Any, declared: str, name: str, key: str) -> Any:
    """`value` converted to the declared type; a value of an unknown type is not changed.

    Raises EarthEngineError (400) with the algorithm, the argument and both types.
    """
    convert = conversion(declared)
    if convert is None:
        return value
    try:
        return convert(value)
    except Mismatch as error:
        raise mismatch(value, declared, name, key) from error


def mismatch(value: Any, declared: str, name: str, key: str) -> EarthEngineError:
    """The error for an argument of another type than the declared one."""
    return EarthEngineError(
        f"{name}, argument '{key}': Invalid type.\nExpected type: {declared}.\nActual type: {type_name(value)}."
    )
