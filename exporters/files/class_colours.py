"""The classes that a raster file says it has: names and colours of the values of a band."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

import rasterio.shutil
from rasterio.io import MemoryFile

from exporters.files.open_raster import opened
from pipeline.modality import Category

_TAG = "class_"  # as GeoTIFFs of a corpus name classes


def classes_of_file(path: str, band: int) -> tuple[Category, ...]:
    """The classes of a band (from 1) by code, from its tags, category names or colour table; none without any."""
    file = opened(path).dataset
    if not file.dtypes[band - 1].startswith(("uint", "int")):
        return ()
    colours = _colours(path, band)
    names = _tagged(file.tags(band)) or _tagged(file.tags()) or _category_names(path, band)
    if not names:
        names = {code: f"class {code}" for code in sorted(colours)}
    nodata = file.nodatavals[band - 1]
    plain = Category(0, "").colour
    return tuple(Category(code, names[code], colours.get(code, plain)) for code in sorted(names) if code != nodata)


def _colours(path: str, band: int) -> dict[int, str]:
    """Colours that are not black or invisible: tables have an entry for every value."""
    try:
        table = opened(path).dataset.colormap(band)
    except ValueError:
        return {}
    return {code: "#{:02x}{:02x}{:02x}".format(*rgba) for code, rgba in table.items() if any(rgba[:3]) and rgba[3]}


def _tagged(tags: Mapping[str, str]) -> dict[int, str]:
    codes = {key.removeprefix(_TAG): text for key, text in tags.items() if key.startswith(_TAG)}
    return {int(code): text for code, text in codes.items() if code.lstrip("-").isdigit()}


def _category_names(path: str, band: int) -> dict[int, str]:
    """GDAL's category names, which rasterio does not give but a VRT of the file has."""
    with MemoryFile(ext=".vrt") as memory:
        rasterio.shutil.copy(path, memory.name, driver="VRT")
        root = ElementTree.fromstring(bytes(memory.getbuffer()))  # noqa: S314 - GDAL wrote it
    found = root.find(f"VRTRasterBand[@band='{band}']/CategoryNames")
    names = [] if found is None else [item.text or "" for item in found]
    return {code: text for code, text in enumerate(names) if text}
