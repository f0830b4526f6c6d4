"""Algorithms that load images and select, name, join and describe their bands."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from sandbox.errors import EarthEngineError, not_found
from sandbox.functions import images
from sandbox.functions.dates import Date
from sandbox.functions.images import Image, ImageBand
from sandbox.raster.stored import Catalog, Projection
from sandbox.registry import algorithm, catalog_algorithm


@catalog_algorithm("Image.load")
def load(catalog: Catalog, asset_id: str, version: Any) -> Image:
    result = catalog.image(asset_id)
    if result is None:
        raise not_found("Image.load: Image asset", asset_id)
    return images.from_stored(result)


@algorithm("Image.constant")
def constant(value: Any) -> Image:
    return value if isinstance(value, Image) else images.constant(value)


@algorithm("Image.bandNames")
def band_names(image: Image) -> list[str]:
    return image.band_names()


def pixel_type(dtype: np.dtype[Any]) -> dict[str, Any]:
    """Earth Engine's description of a band's type."""
    if dtype.kind == "f":
        return {"type": "PixelType", "precision": "float" if dtype.itemsize == 4 else "double"}
    limits = np.iinfo(dtype)
    return {"type": "PixelType", "precision": "int", "min": int(limits.min), "max": int(limits.max)}


@algorithm("Image.bandTypes")
def band_types(image: Image) -> dict[str, Any]:
    return {band.name: pixel_type(band.dtype) for band in image.bands}


@algorithm("Image.date")
def date(image: Image) -> Date | None:
    start = image.properties.get("system:time_start")
    return None if start is None else Date(int(start))


@algorithm("Image.projection")
def projection(image: Image) -> Projection:
    if len({band.projection for band in image.bands}) > 1:
        raise EarthEngineError(
            "Image.projection: The bands of the specified image contains different projections. "
            "Use Image.select to pick a single band."
        )
    return image.projection


def _matching(image: Image, selector: Any) -> list[ImageBand]:
    if isinstance(selector, (int, float)):
        index = int(selector)
        if not -len(image.bands) <= index < len(image.bands):
            raise EarthEngineError(f"Image.select: Band index {index} out of bounds [0, {len(image.bands)}).")
        return [image.bands[index]]
    names = image.band_names()
    if names.count(selector) == 1:
        return [image.bands[names.index(selector)]]
    exact = [position for position, name in enumerate(names) if name == selector]
    result = exact or [position for position, name in enumerate(names) if re.fullmatch(str(selector), name)]
    if not result:
        raise _no_match(image, selector)
    return [image.bands[position] for position in result]


def _no_match(image: Image, selector: Any) -> EarthEngineError:
    if not image.bands:
        return EarthEngineError(
            f"Image.select: Band pattern '{selector}' was applied to an Image with no bands. "
            "See https://developers.google.com/earth-engine/guides/debugging#no-bands"
        )
    available = ", ".join(image.band_names())
    return EarthEngineError(
        f"Image.select: Band pattern '{selector}' did not match any bands. Available bands: [{available}]"
    )


@algorithm("Image.select")
def select(image: Image, selectors: list[Any], new_names: list[str] | None) -> Image:
    result = [band for selector in selectors for band in _matching(image, selector)]
    if new_names is not None and len(new_names) != len(result):
        raise EarthEngineError(
            f"Image.select: The number of new names ({len(new_names)}) must match the number of bands selected "
            f"({len(result)})."
        )
    names = new_names or [band.name for band in result]
    return image.with_bands(named(result, _distinct(names)))


def named(bands: list[ImageBand], names: list[str]) -> list[ImageBand]:
    """The bands under new names; a band whose name does not change is the same object."""
    return [
        band if band.name == name else replace(band, name=name, compute=band.pixels)
        for band, name in zip(bands, names, strict=True)
    ]


def _distinct(names: list[str]) -> list[str]:
    taken: list[str] = []
    for name in names:
        taken.append(_free_name(name, set(taken)))
    return taken


def _free_name(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    return next(f"{name}_{i}" for i in range(1, len(taken) + 2) if f"{name}_{i}" not in taken)


@algorithm("Image.rename")
def rename(image: Image, names: list[str]) -> Image:
    if len(names) != len(image.bands):
        raise EarthEngineError(
            f"Image.rename: Got {len(names)} names but the image has {len(image.bands)} bands: the number of names "
            "must be the same as the number of bands."
        )
    if len(set(names)) != len(names):
        raise EarthEngineError("Image.rename: Duplicate band names.")
    return image.with_bands(named(list(image.bands), names))


@algorithm("Image.addBands")
def add_bands(image: Image, source: Image, names: list[str] | None, overwrite: bool) -> Image:
    """The bands of `image`, then those of `source`; a duplicate name is replaced or gets the suffix _1."""
    added = list(source.bands)
    if names is not None:
        added = [band for name in names for band in _matching(source, name)]
    bands = list(image.bands)
    for band in added:
        taken = [present.name for present in bands]
        if overwrite and band.name in taken:
            bands[taken.index(band.name)] = band
        else:
            bands += named([band], [_free_name(band.name, set(taken))])
    return image.with_bands(bands)


@algorithm("Image.slice")
def cut(image: Image, start: int, end: int | None) -> Image:
    return image.with_bands(list(image.bands[start:end]))
