"""The REST API's descriptions and lists of assets, with the filters that ee.data.listImages sends."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from sandbox.errors import EarthEngineError
from sandbox.functions.dates import parsed
from sandbox.functions.encode import to_json
from sandbox.functions.filters import narrowed
from sandbox.functions.geometry import Geometry, geometry_from_geojson
from sandbox.functions.image_bands import pixel_type
from sandbox.raster.longitudes import wrapped
from sandbox.raster.stored import Band, Catalog, Query, StoredImage

Test = Callable[[StoredImage], bool]
_PREFIXES = ("projects/earthengine-public/assets/", "projects/earthengine-legacy/assets/")
_CONDITION = re.compile(r'^\s*([\w.:"]+)\s*(>=|<=|!=|=|<|>)\s*(?:"((?:[^"\\]|\\.)*)"|(\S+))\s*$')
_INTERSECTS = re.compile(r'^\s*intersects\("((?:[^"\\]|\\.)*)"\)\s*$', re.DOTALL)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
}


def asset_id(name: str) -> str:
    """Earth Engine's id of a REST resource name."""
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix).rstrip("/")
    return name.rstrip("/")


def resource_name(identifier: str) -> str:
    """The REST resource name of an asset id."""
    if re.match(r"^projects/[^/]+/assets/", identifier):
        return identifier
    return (_PREFIXES[1] if identifier.split("/")[0] in ("users", "projects") else _PREFIXES[0]) + identifier


def timestamp(ms: int) -> str:
    """RFC 3339 with milliseconds."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def _band_json(band: Band) -> dict[str, Any]:
    a, b, c, d, e, f = band.projection.transform
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    kind = pixel_type(band.dtype)
    limits = {"min": kind["min"], "max": kind["max"]} if "min" in kind else {}
    document: dict[str, Any] = {
        "id": band.name,
        "dataType": {"precision": kind["precision"].upper(), **({"range": limits} if limits else {})},
        "grid": {
            "crsCode": band.projection.crs,
            "affineTransform": dict(zip(names, (a, b, c, d, e, f), strict=True)),
        },
    }
    shape = getattr(band, "shape", None)
    if shape is not None:
        document["grid"]["dimensions"] = {"width": shape[1], "height": shape[0]}
    return document


def image_json(image: StoredImage, view: str = "FULL") -> dict[str, Any]:
    """An EarthEngineAsset of type IMAGE; BASIC leaves out bands, geometry and properties."""
    document: dict[str, Any] = {"type": "IMAGE", "name": resource_name(image.asset_id), "id": image.asset_id}
    if view == "BASIC":
        return document
    hidden = ("system:time_start", "system:time_end", "system:index")
    document["properties"] = {key: to_json(v) for key, v in image.properties.items() if key not in hidden}
    document["bands"] = [_band_json(band) for band in image.bands]
    if image.footprint is not None:
        document["geometry"] = Geometry(image.footprint).geojson()
    for key, field in (("system:time_start", "startTime"), ("system:time_end", "endTime")):
        if image.properties.get(key) is not None:
            document[field] = timestamp(int(image.properties[key]))
    return document


def describe(catalog: Catalog, identifier: str) -> dict[str, Any]:
    """The description of one asset. Raises EarthEngineError (404) for an unknown id."""
    description = catalog.describe(identifier)
    image = catalog.image(identifier) if description is None or description.get("type") == "IMAGE" else None
    if image is not None:
        return image_json(image)
    if description is None:
        raise asset_not_found(identifier)
    return {"name": resource_name(identifier), "id": identifier, **to_json(description)}


def asset_not_found(identifier: str) -> EarthEngineError:
    """The error (404) for an unknown asset."""
    return EarthEngineError(f"Asset '{identifier}' does not exist or doesn't allow this operation.", 404)


def _split(text: str) -> list[str]:
    """The conditions of a conjunction; AND inside quotes does not count."""
    parts = re.split(r'\s+AND\s+(?=(?:[^"\\]|\\.|"(?:[^"\\]|\\.)*")*$)', text.strip())
    return [part for part in parts if part]


def _region(text: str) -> BaseGeometry:
    data = text.replace('\\"', '"').replace("\\'", "'")
    try:
        if data.lstrip().startswith("{"):
            document = json.loads(data if '"' in data else data.replace("'", '"'))
            return geometry_from_geojson(document).wrapped
        return wrapped(shapely.from_wkt(data))
    except (json.JSONDecodeError, shapely.errors.GEOSException) as error:
        raise EarthEngineError(f"Invalid filter: cannot read the region '{text[:80]}'.") from error


def _time_condition(field: str, sign: str, value: str) -> tuple[Query, Test]:
    ms = parsed(value).ms
    key = "system:time_start" if field == "startTime" else "system:time_end"

    def test(image: StoredImage) -> bool:
        # An image without an end time ends at its start time.
        result = image.properties.get(key, image.properties.get("system:time_start"))
        return result is not None and _COMPARE[sign](int(result), ms)

    if field == "startTime":
        query = Query(start_ms=ms if sign in (">=", ">", "=") else None)
    else:
        query = Query(end_ms=ms + 1 if sign in ("<", "<=", "=") else None)
    return query, test


def _condition(text: str) -> tuple[Query, Test]:
    overlap = _INTERSECTS.match(text)
    if overlap:
        region = _region(overlap.group(1))
        return Query(region=region), lambda i: i.footprint is None or bool(i.footprint.intersects(region))
    match = _CONDITION.match(text)
    if match is None:
        raise EarthEngineError(f"Invalid filter: cannot read the condition '{text}'.")
    field, sign = match.group(1), match.group(2)
    value = match.group(3) if match.group(3) is not None else match.group(4)
    if field in ("startTime", "endTime"):
        return _time_condition(field, sign, value)
    return _property_condition(field.removeprefix("properties.").strip('"'), sign, value)


def _property_condition(key: str, sign: str, value: str) -> tuple[Query, Test]:
    def test(image: StoredImage) -> bool:
        result = image.properties.get(key)
        if result is None:
            return False
        try:
            wanted: Any = type(result)(float(value)) if isinstance(result, (int, float)) else value
        except ValueError:
            return False
        return _COMPARE[sign](result, wanted)

    return Query(), test


def list_images(catalog: Catalog, identifier: str, parameters: Mapping[str, str]) -> Iterable[StoredImage]:
    """Images of a collection that match the request's filter, startTime, endTime and region.

    Raises EarthEngineError for an unknown collection (404) or an invalid filter (400).
    """
    conditions = [_condition(part) for part in _split(parameters.get("filter", ""))]
    if "startTime" in parameters:
        conditions.append(_time_condition("startTime", ">=", parameters["startTime"]))
    if "endTime" in parameters:
        conditions.append(_time_condition("startTime", "<", parameters["endTime"]))
    if "region" in parameters:
        region = _region(parameters["region"])
        conditions.append((Query(region=region), lambda i: i.footprint is None or i.footprint.intersects(region)))
    query = Query()
    for implied, _ in conditions:
        query = narrowed(query, implied)
    result = catalog.images(identifier, query)
    if result is None:
        raise asset_not_found(identifier)
    return (image for image in result if all(test(image) for _, test in conditions))
