"""Values as the JSON of replies: descriptions of images and collections, dates and geometries with their type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sandbox.errors import EarthEngineError
from sandbox.functions.dates import Date, DateRange
from sandbox.functions.element_collections import Collection
from sandbox.functions.error_margins import ErrorMargin
from sandbox.functions.features import Feature, index_of, property_names, property_of
from sandbox.functions.geometry import Geometry
from sandbox.functions.image_bands import pixel_type
from sandbox.functions.images import Image, ImageBand
from sandbox.raster.stored import Projection


def to_json(value: Any) -> Any:
    """Any value of the evaluator as JSON types. Raises EarthEngineError for a type without a JSON form."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (float, np.generic)):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    for kind, encode in _ENCODERS:
        if isinstance(value, kind):
            return encode(value)
    raise EarthEngineError(f"Cannot encode object of type '{type(value).__name__}'.")


def _number(value: Any) -> Any:
    number = value.item() if isinstance(value, np.generic) else value
    return number if not isinstance(number, float) or math.isfinite(number) else None


def _properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {key: to_json(value) for key, value in properties.items()}


def feature_json(feature: Feature) -> dict[str, Any]:
    """GeoJSON with the system:index as its id."""
    properties = {key: value for key, value in feature.properties.items() if key != "system:index"}
    document: dict[str, Any] = {
        "type": "Feature",
        "geometry": None if feature.geometry is None else feature.geometry.geojson(),
        "properties": _properties(properties),
    }
    index = index_of(feature)
    return document if index is None else {**document, "id": index}


def _band(band: ImageBand) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": band.name,
        "data_type": pixel_type(band.dtype),
        "crs": band.projection.crs,
        "crs_transform": list(band.projection.transform),
    }
    if band.window is not None:
        document["dimensions"] = [band.window.width, band.window.height]
        if band.window.column or band.window.row:
            document["origin"] = [band.window.column, band.window.row]
    return document


def image_json(image: Image) -> dict[str, Any]:
    """The description of an image: its bands and properties."""
    properties = _properties({key: property_of(image, key) for key in property_names(image)})
    document: dict[str, Any] = {"type": "Image", "bands": [_band(band) for band in image.bands]}
    if image.asset_id is not None:
        document["id"] = image.asset_id
    return {**document, "properties": properties}


def _collection(collection: Collection) -> dict[str, Any]:
    members = [to_json(element) for element in collection.elements()]
    document: dict[str, Any] = {"type": "ImageCollection" if collection.of_images else "FeatureCollection"}
    document |= {"bands": []} if collection.of_images else {"columns": {}}
    if collection.asset_id is not None:
        document["id"] = collection.asset_id
    if collection.properties:
        document["properties"] = _properties(collection.properties)
    return {**document, "features": members}


_ENCODERS: list[tuple[type, Any]] = [
    (Feature, feature_json),
    (Image, image_json),
    (Collection, _collection),
    (Geometry, Geometry.geojson),
    (Date, lambda date: {"type": "Date", "value": date.ms}),
    (DateRange, lambda span: {"type": "DateRange", "dates": [span.start.ms, span.end.ms]}),
    (Projection, lambda p: {"type": "Projection", "crs": p.crs, "transform": list(p.transform)}),
    (ErrorMargin, lambda margin: {"type": "ErrorMargin", "value": margin.value, "unit": margin.unit}),
]
