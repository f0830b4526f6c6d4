"""All chips of a layer in one CRS as a single raster: a VRT, which GDAL and QGIS open without copying a pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring
from xml.sax.saxutils import escape

from rasterio.crs import CRS

from exporters.formats.chip_raster import ChipRaster
from exporters.formats.class_table import class_elements, rgb_of
from pipeline.grid import Grid

_GDAL_TYPES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32",
    "uint64": "UInt64", "int64": "Int64", "float32": "Float32", "float64": "Float64",
}  # fmt: skip


@dataclass(frozen=True)
class Tile:
    """A chip's file, relative to the VRT's folder, and the chip's grid."""

    path: str
    grid: Grid


def mosaic(raster: ChipRaster, tiles: Sequence[Tile]) -> Iterator[str]:
    """The pieces of a VRT of `tiles`, which share a CRS and a resolution; of chips that overlap the last is on top.

    A layer of one value per chip fills the chip's pixels, so that all layers have the same pixels.
    """
    resolution_m = tiles[0].grid.resolution_m
    left, bottom, right, top = _bounds(tiles)
    width, height = round((right - left) / resolution_m), round((top - bottom) / resolution_m)
    wkt = escape(CRS.from_user_input(tiles[0].grid.crs).to_wkt())
    yield f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">\n<SRS>{wkt}</SRS>\n'
    yield f"<GeoTransform>{left!r}, {resolution_m!r}, 0.0, {top!r}, 0.0, {-resolution_m!r}</GeoTransform>\n"
    for number in range(1, len(raster.modality.bands) + 1):
        yield f'<VRTRasterBand dataType="{_GDAL_TYPES[raster.dtype]}" band="{number}">\n'
        yield from (_text_of(element) for element in _about(raster, number))
        yield from (_text_of(_source(raster, number, tile, (left, top))) for tile in tiles)
        yield "</VRTRasterBand>\n"
    yield "</VRTDataset>\n"


def _text_of(element: Element) -> str:
    return tostring(element, encoding="unicode") + "\n"


def _bounds(tiles: Sequence[Tile]) -> tuple[float, float, float, float]:
    lefts, bottoms, rights, tops = zip(*(tile.grid.bounds_xy for tile in tiles), strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)


def _about(raster: ChipRaster, number: int) -> list[Element]:
    modality, band = raster.modality, raster.modality.bands[number - 1]
    texts = {
        "Description": band.name, "UnitType": band.units, "NoDataValue": _text(modality.fill.item()),
        "Offset": repr(modality.offset), "Scale": repr(modality.scale),
        "ColorInterp": "Palette" if modality.categories else "Gray" if number == 1 else "Undefined",
    }  # fmt: skip
    elements = [Element(name) for name in texts]
    for element, text in zip(elements, texts.values(), strict=True):
        element.text = text
    return [*elements, *_colours(raster), *class_elements(modality)]


def _colours(raster: ChipRaster) -> list[Element]:
    """A table of colours by position, clear where there is no class; VRT has none beyond 16 bits."""
    colours = {category.code: rgb_of(category.colour) for category in raster.modality.categories}
    if not colours or min(colours) < 0 or max(colours) > 65535:
        return []
    table = Element("ColorTable")
    for code in range(max(colours) + 1):
        red, green, blue = colours.get(code, (0, 0, 0))
        SubElement(table, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4="255" if code in colours else "0")
    return [table]


def _source(raster: ChipRaster, number: int, tile: Tile, corner: tuple[float, float]) -> Element:
    """A tile, whose nodata does not cover a neighbour's data."""
    height, width = tile.grid.shape_yx
    inside = (width, height) if raster.modality.extent == "pixel" else (1, 1)
    (left, top), resolution_m = tile.grid.origin_xy, tile.grid.resolution_m
    source = Element("ComplexSource")
    SubElement(source, "SourceFilename", relativeToVRT="1").text = tile.path
    SubElement(source, "SourceBand").text = str(number)
    SubElement(source, "SourceProperties", _properties(raster, inside))
    SubElement(source, "SrcRect", _rectangle(0, 0, *inside))
    SubElement(
        source,
        "DstRect",
        _rectangle((left - corner[0]) / resolution_m, (corner[1] - top) / resolution_m, width, height),
    )
    SubElement(source, "NODATA").text = _text(raster.modality.fill.item())
    return source


def _properties(raster: ChipRaster, size: tuple[int, int]) -> dict[str, str]:
    """Size and dtype of a file, so that GDAL opens no file before its pixels are asked for."""
    width, height = size
    return {"RasterXSize": str(width), "RasterYSize": str(height), "DataType": _GDAL_TYPES[raster.dtype],
            "BlockXSize": str(width), "BlockYSize": str(height)}  # fmt: skip


def _rectangle(x: float, y: float, width: float, height: float) -> dict[str, str]:
    return {"xOff": f"{x:.12g}", "yOff": f"{y:.12g}", "xSize": f"{width:.12g}", "ySize": f"{height:.12g}"}


def _text(nodata: float) -> str:
    return repr(nodata) if nodata == nodata else "nan"
