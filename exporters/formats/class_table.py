"""Names and colours of classes, in the forms in which GDAL and QGIS read them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from pipeline.modality import Modality

_GREY = "#888888"
_COLOUR = re.compile("#[0-9a-fA-F]{6}")
_PALETTE = ("uint8", "uint16")  # the dtypes for which TIFF has a table of colours
# Column of an attribute table: its name, GDAL's type (0 integer, 2 text) and usage (GFU_MinMax, Name, Red, ...).
_COLUMNS = (("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of "#rrggbb"; grey for what is no such colour."""
    text = colour if _COLOUR.fullmatch(colour) else _GREY
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def colour_map(modality: Modality) -> dict[int, tuple[int, int, int, int]]:
    """Code: red, green, blue, opacity; empty for a layer without classes, with several bands, or of a wide dtype."""
    if len(modality.bands) > 1 or modality.dtype not in _PALETTE:
        return {}
    return {category.code: (*rgb_of(category.colour), 255) for category in modality.categories}


def side_file(modality: Modality) -> str:
    """The text of `<file>.aux.xml`: category names and an attribute table for each band, as GDAL reads them."""
    root = Element("PAMDataset")
    for number in range(1, len(modality.bands) + 1):
        band = SubElement(root, "PAMRasterBand", band=str(number))
        band.extend(class_elements(modality))
    indent(root)
    return tostring(root, encoding="unicode")


def class_elements(modality: Modality) -> list[Element]:
    """What stands in a band's element of a VRT or a side file; nothing for a layer without classes."""
    if not modality.categories:
        return []
    names = [_category_names(modality)] if 0 <= min(modality.codes) and max(modality.codes) < 256 else []
    return [*names, _attribute_table(modality)]


def _category_names(modality: Modality) -> Element:
    """Names by position from 0 on, empty where there is no class."""
    names = {category.code: category.name for category in modality.categories}
    element = Element("CategoryNames")
    for code in range(max(names) + 1):
        SubElement(element, "Category").text = names.get(code, "")
    return element


def _attribute_table(modality: Modality) -> Element:
    table = Element("GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(_COLUMNS):
        field = SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", name), ("Type", str(kind)), ("Usage", str(usage))):
            SubElement(field, tag).text = text
    for index, category in enumerate(modality.categories):
        cells: Iterable[object] = (category.code, category.name, *rgb_of(category.colour))
        row = SubElement(table, "Row", index=str(index))
        for cell in cells:
            SubElement(row, "F").text = str(cell)
    return table
